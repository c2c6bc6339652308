// Writes the bytes of a message field by field, where building the message first would cost more than the bytes are
// worth: the audit records of every statement.
//
// The result is what SerializeRecord() gives for the same fields, provided that they come in ascending order (Protocol
// Buffers, "Encoding"; proto3 leaves default values out). Tests hold it to that.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace postern::audit {

class RecordWriter {
 public:
  // Appends to `out`, which is not owned.
  explicit RecordWriter(std::string* out) : out_(*out) {}

  // int32, int64, uint64, bool and enum fields; nothing for 0.
  void Number(int field, int64_t value) {
    if (value == 0) return;
    Varint(static_cast<uint64_t>(field) << 3);
    Varint(static_cast<uint64_t>(value));
  }
  // string and bytes fields; nothing for "".
  void Bytes(int field, std::string_view value) {
    if (!value.empty()) Message(field, value);
  }
  // Elements of repeated fields, and messages: also when they are empty.
  void Message(int field, std::string_view value) {
    Varint(static_cast<uint64_t>(field) << 3 | 2);
    Varint(value.size());
    out_.append(value);
  }
  // Fields that were written elsewhere.
  void Written(std::string_view fields) { out_.append(fields); }

 private:
  void Varint(uint64_t value) {
    while (value >= 0x80) {
      out_.push_back(static_cast<char>(value | 0x80));
      value >>= 7;
    }
    out_.push_back(static_cast<char>(value));
  }

  std::string& out_;
};

}  // namespace postern::audit
