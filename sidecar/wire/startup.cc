#include "sidecar/wire/startup.h"

#include "sidecar/wire/cursor.h"

namespace postern::wire {
namespace {
constexpr uint32_t kCancelCode = 1234u << 16 | 5678;
constexpr uint32_t kSslCode = 1234u << 16 | 5679;
constexpr uint32_t kGssCode = 1234u << 16 | 5680;

Read ReadParameters(Cursor& cursor, StartupPacket* packet) {
  for (;;) {
    const std::string_view name = cursor.String();
    if (!cursor.ok()) return Read::kMalformed;
    if (name.empty()) break;
    const std::string_view value = cursor.String();
    if (!cursor.ok()) return Read::kMalformed;
    packet->parameters.emplace_back(name, value);
  }
  // The terminator is the last byte of the packet.
  return cursor.done() ? Read::kMessage : Read::kMalformed;
}
}  // namespace

Read ReadStartup(std::string_view in, StartupPacket* packet) {
  if (in.size() < 4) return Read::kNeedMore;
  Cursor cursor(in);
  const uint32_t length = cursor.Uint32();
  if (length < 8 || length > kMaxStartupBytes) return Read::kMalformed;
  if (in.size() < length) return Read::kNeedMore;
  Cursor body(in.substr(4, length - 4));
  const uint32_t code = body.Uint32();
  *packet = StartupPacket();
  packet->size = length;
  switch (code) {
    case kSslCode:
    case kGssCode:
      packet->kind = code == kSslCode ? StartupPacket::Kind::kSslRequest : StartupPacket::Kind::kGssEncRequest;
      return body.done() ? Read::kMessage : Read::kMalformed;
    case kCancelCode:
      packet->kind = StartupPacket::Kind::kCancelRequest;
      packet->process_id = body.Uint32();
      packet->secret_key = std::string(body.Rest());
      if (!body.ok() || packet->secret_key.size() < 4 || packet->secret_key.size() > kMaxCancelKeyBytes) {
        return Read::kMalformed;
      }
      return Read::kMessage;
    default:
      break;
  }
  packet->major = static_cast<uint16_t>(code >> 16);
  packet->minor = static_cast<uint16_t>(code & 0xffff);
  if (packet->major != 3) {
    packet->kind = StartupPacket::Kind::kUnsupportedVersion;
    return Read::kMessage;
  }
  packet->kind = StartupPacket::Kind::kStartup;
  return ReadParameters(body, packet);
}

}  // namespace postern::wire
