// Integers in network byte order, as every Postgres message and binary value has them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::mask {

// Each reads from the start of `bytes`, which must be long enough.
inline uint16_t ReadUint16(std::string_view bytes) {
  return static_cast<uint16_t>((static_cast<uint8_t>(bytes[0]) << 8) | static_cast<uint8_t>(bytes[1]));
}
inline uint32_t ReadUint32(std::string_view bytes) {
  return (static_cast<uint32_t>(ReadUint16(bytes)) << 16) | ReadUint16(bytes.substr(2));
}
inline uint64_t ReadUint64(std::string_view bytes) {
  return (static_cast<uint64_t>(ReadUint32(bytes)) << 32) | ReadUint32(bytes.substr(4));
}

inline void AppendUint16(uint16_t value, std::string* out) {
  out->push_back(static_cast<char>(value >> 8));
  out->push_back(static_cast<char>(value & 0xff));
}
inline void AppendUint32(uint32_t value, std::string* out) {
  AppendUint16(static_cast<uint16_t>(value >> 16), out);
  AppendUint16(static_cast<uint16_t>(value & 0xffff), out);
}
inline void AppendUint64(uint64_t value, std::string* out) {
  AppendUint32(static_cast<uint32_t>(value >> 32), out);
  AppendUint32(static_cast<uint32_t>(value & 0xffffffff), out);
}

// Overwrites the four bytes at `at`.
inline void PutUint32(uint32_t value, size_t at, std::string* out) {
  for (int i = 0; i < 4; ++i) (*out)[at + static_cast<size_t>(i)] = static_cast<char>((value >> (24 - 8 * i)) & 0xff);
}

}  // namespace postern::mask
