#include "cli/app.h"

int main(int argc, char** argv) { return postern::cli::Run(argc, argv); }
