// Whatever opens a connection, nothing is read beyond the packet, and the packet is never longer than allowed.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "sidecar/wire/startup.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace postern::wire;  // NOLINT(google-build-using-namespace)
  std::string_view in(reinterpret_cast<const char*>(data), size);
  StartupPacket packet;
  while (ReadStartup(in, &packet) == Read::kMessage) {
    if (packet.size < 8 || packet.size > kMaxStartupBytes || packet.size > in.size()) std::abort();
    if (packet.secret_key.size() > kMaxCancelKeyBytes) std::abort();
    in.remove_prefix(packet.size);
  }
  return 0;
}
