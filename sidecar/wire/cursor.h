// Reads the fields of one message body, with every bound checked. Internal to wire.
#pragma once

#include <cstdint>
#include <string_view>

namespace postern::wire {

class Cursor {
 public:
  explicit Cursor(std::string_view body) : rest_(body) {}

  // False once anything was out of bounds; all reads after that return zero or empty.
  bool ok() const { return ok_; }
  // Everything was consumed, exactly.
  bool done() const { return ok_ && rest_.empty(); }
  bool empty() const { return rest_.empty(); }

  uint8_t Byte() {
    const std::string_view bytes = Take(1);
    return bytes.empty() ? 0 : static_cast<uint8_t>(bytes[0]);
  }
  int16_t Int16() {
    const std::string_view b = Take(2);
    if (b.empty()) return 0;
    return static_cast<int16_t>(static_cast<uint8_t>(b[0]) << 8 | static_cast<uint8_t>(b[1]));
  }
  uint32_t Uint32() {
    const std::string_view b = Take(4);
    if (b.empty()) return 0;
    uint32_t value = 0;
    for (const char c : b) value = value << 8 | static_cast<uint8_t>(c);
    return value;
  }
  int32_t Int32() { return static_cast<int32_t>(Uint32()); }
  // A string and its terminator.
  std::string_view String() {
    const size_t end = rest_.find('\0');
    if (!ok_ || end == std::string_view::npos) {
      Fail();
      return {};
    }
    const std::string_view text = rest_.substr(0, end);
    rest_.remove_prefix(end + 1);
    return text;
  }
  std::string_view Take(size_t n) {
    if (!ok_ || rest_.size() < n) {
      Fail();
      return {};
    }
    const std::string_view bytes = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return bytes;
  }
  std::string_view Rest() { return Take(rest_.size()); }
  void Fail() {
    ok_ = false;
    rest_ = {};
  }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace postern::wire
