#include "controlplane/server/commands.h"

int main(int argc, char** argv) { return postern::server::RunControlPlane(argc, argv); }
