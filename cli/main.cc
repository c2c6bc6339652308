#include <cstdio>
#include <cstdlib>
#include <iostream>

#include "cli/app.h"

int main(int argc, char** argv) {
  const int status = postern::cli::Run(argc, argv);
  // gRPC's threads may still be at work in OpenSSL, whose exit handler would take its tables away from under them:
  // about one command in five hundred died of it on a busy machine, after its work was done.
  std::cout.flush();
  std::cerr.flush();
  std::fflush(nullptr);
  std::_Exit(status);
}
