// The sidecar daemon: everything behind main().
#pragma once

namespace postern::sidecar_app {

// Runs the command line and returns the exit status: 0 done, 2 wrong usage, 1 everything else.
//
//   postern-sidecar --config F run          serve until SIGTERM; SIGHUP reads the clients' certificate again
//   postern-sidecar --config F join LINE    become a sidecar, with the line that `postern sidecar invite` printed
//   postern-sidecar --config F --check-config
//   postern-sidecar --version
int Main(int argc, char** argv);

}  // namespace postern::sidecar_app
