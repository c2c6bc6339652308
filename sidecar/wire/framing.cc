#include "sidecar/wire/framing.h"

namespace postern::wire {
namespace {

uint32_t LengthWord(std::string_view in) {
  uint32_t length = 0;
  for (size_t i = 1; i < kHeaderBytes; ++i) length = length << 8 | static_cast<uint8_t>(in[i]);
  return length;
}

// 0: no such message.
uint32_t FrontendLimit(char type) {
  switch (type) {
    case 'Q':  // Query
    case 'P':  // Parse
    case 'B':  // Bind
    case 'F':  // FunctionCall
    case 'd':  // CopyData
      return kLargeMessageLimit;
    case 'p':  // PasswordMessage, SASL
    case 'E':  // Execute
    case 'D':  // Describe
    case 'C':  // Close
    case 'H':  // Flush
    case 'S':  // Sync
    case 'X':  // Terminate
    case 'c':  // CopyDone
    case 'f':  // CopyFail
      return kSmallMessageLimit;
    default:
      return 0;
  }
}

uint32_t BackendLimit(char type) {
  switch (type) {
    case 'T':  // RowDescription
    case 'D':  // DataRow
    case 'd':  // CopyData
    case 'E':  // ErrorResponse
    case 'N':  // NoticeResponse
    case 'A':  // NotificationResponse
    case 'V':  // FunctionCallResponse
    case 't':  // ParameterDescription
    case 'S':  // ParameterStatus
      return kLargeMessageLimit;
    case 'R':  // Authentication*
    case 'K':  // BackendKeyData
    case 'Z':  // ReadyForQuery
    case 'C':  // CommandComplete
    case 'I':  // EmptyQueryResponse
    case '1':  // ParseComplete
    case '2':  // BindComplete
    case '3':  // CloseComplete
    case 'n':  // NoData
    case 's':  // PortalSuspended
    case 'G':  // CopyInResponse
    case 'H':  // CopyOutResponse
    case 'W':  // CopyBothResponse
    case 'c':  // CopyDone
    case 'v':  // NegotiateProtocolVersion
      return kSmallMessageLimit;
    default:
      return 0;
  }
}

Read ReadHeader(std::string_view in, uint32_t (*limit_of)(char), Header* header) {
  if (in.empty()) return Read::kNeedMore;
  const uint32_t limit = limit_of(in[0]);
  if (limit == 0) return Read::kMalformed;
  if (in.size() < kHeaderBytes) return Read::kNeedMore;
  const uint32_t length = LengthWord(in);
  // The length word counts itself.
  if (length < 4 || length > limit) return Read::kMalformed;
  header->type = in[0];
  header->size = size_t{length} + 1;
  return Read::kMessage;
}

Read ReadWhole(std::string_view in, uint32_t (*limit_of)(char), Message* message) {
  Header header;
  if (const Read read = ReadHeader(in, limit_of, &header); read != Read::kMessage) return read;
  if (in.size() < header.size) return Read::kNeedMore;
  message->type = header.type;
  message->whole = in.substr(0, header.size);
  message->body = message->whole.substr(kHeaderBytes);
  return Read::kMessage;
}

}  // namespace

Read ReadFrontendHeader(std::string_view in, Header* header) { return ReadHeader(in, FrontendLimit, header); }
Read ReadBackendHeader(std::string_view in, Header* header) { return ReadHeader(in, BackendLimit, header); }
Read ReadFrontend(std::string_view in, Message* message) { return ReadWhole(in, FrontendLimit, message); }
Read ReadBackend(std::string_view in, Message* message) { return ReadWhole(in, BackendLimit, message); }

}  // namespace postern::wire
