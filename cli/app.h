// The command line: one subcommand tree, built from the rooms under cli/commands.
#pragma once

namespace postern::cli {

// Parses and runs; returns the process's exit status (cli/exit_status.h).
int Run(int argc, char** argv);

}  // namespace postern::cli
