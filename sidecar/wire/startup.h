// The untyped packets that open a connection (PostgreSQL documentation, 55.2.1, 55.2.10, 55.2.11).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sidecar/wire/framing.h"

namespace postern::wire {

// MAX_STARTUP_PACKET_LENGTH of the server.
inline constexpr uint32_t kMaxStartupBytes = 10'000;
// Cancel keys are 4 bytes in protocol 3.0 and up to 256 in 3.2.
inline constexpr size_t kMaxCancelKeyBytes = 256;

struct StartupPacket {
  enum class Kind { kStartup, kSslRequest, kGssEncRequest, kCancelRequest, kUnsupportedVersion };
  Kind kind = Kind::kStartup;
  // Bytes consumed from the input.
  size_t size = 0;

  // kStartup, kUnsupportedVersion.
  uint16_t major = 0;
  uint16_t minor = 0;
  // kStartup: in the order sent, names and values as sent, duplicates included: the caller refuses them.
  std::vector<std::pair<std::string, std::string>> parameters;

  // kCancelRequest.
  uint32_t process_id = 0;
  std::string secret_key;
};

// Reads one packet from the front of `in`. The packet is not taken apart before it is whole, and its length is checked
// before anything waits for it.
Read ReadStartup(std::string_view in, StartupPacket* packet);

}  // namespace postern::wire
