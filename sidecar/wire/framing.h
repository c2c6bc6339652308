// Framing of Postgres protocol 3.0 messages (PostgreSQL documentation, chapter 55): bytes in, one of three answers out.
// Nothing is consumed until a message is whole, and no socket is touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace postern::wire {

// kMalformed ends the session.
enum class Read { kMessage, kNeedMore, kMalformed };

// One typed message. Views into the caller's buffer.
struct Message {
  char type = 0;
  std::string_view body;   // without type and length
  std::string_view whole;  // everything, as it is forwarded
};

// Type byte and length.
inline constexpr size_t kHeaderBytes = 5;
// PQ_SMALL_MESSAGE_LIMIT and PQ_LARGE_MESSAGE_LIMIT of libpq/libpq.h: a body's length including its length word.
inline constexpr uint32_t kSmallMessageLimit = 10'000;
inline constexpr uint32_t kLargeMessageLimit = 0x3fffffff;

// The header at the front of `in`, for relaying bodies that need not be whole.
struct Header {
  char type = 0;
  // Of the whole message: type, length and body.
  size_t size = 0;
};

// Reads the header of a message that a client sent. kMalformed: unknown type, or a length outside the limits of that
// type. Limits are the server's own.
Read ReadFrontendHeader(std::string_view in, Header* header);
// The same for a message of a server.
Read ReadBackendHeader(std::string_view in, Header* header);

// Reads one whole message from the front of `in`.
Read ReadFrontend(std::string_view in, Message* message);
Read ReadBackend(std::string_view in, Message* message);

}  // namespace postern::wire
