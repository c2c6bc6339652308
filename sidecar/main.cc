#include "sidecar/app/app.h"

int main(int argc, char** argv) { return postern::sidecar_app::Main(argc, argv); }
