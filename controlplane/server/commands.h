// The command line of postern-controlplane.
#pragma once

namespace postern::server {

// Runs what `argv` asks for. 0 on success, 2 for wrong usage, 1 for everything else.
int RunControlPlane(int argc, char** argv);

}  // namespace postern::server
