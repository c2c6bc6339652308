// The lexical subset in which plans are shared (common/sql/literals.h) against Postgres's own scanner: where it says
// that a text has a shape, the scanner finds the same literals in the same places, and nothing that hides others.
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/sql/literals.h"
#include "google/protobuf/io/coded_stream.h"

extern "C" {
#include <pg_query.h>
}

namespace {

using google::protobuf::io::CodedInputStream;

void Check(bool promise) {
  if (!promise) std::abort();
}

// Of pg_query.proto.
enum Token : uint32_t {
  kUIdent = 259,
  kFConst = 260,
  kSConst = 261,
  kUSConst = 262,
  kBConst = 263,
  kXConst = 264,
  kIConst = 266,
  kSqlComment = 275,
  kCComment = 276
};

struct Scanned {
  uint32_t begin = 0;
  uint32_t end = 0;
  uint32_t token = 0;
};

Scanned ReadToken(CodedInputStream* in) {
  Scanned scanned;
  while (const uint32_t tag = in->ReadTag()) {
    uint32_t value = 0;
    Check(in->ReadVarint32(&value));
    if (tag == 8) scanned.begin = value;
    if (tag == 16) scanned.end = value;
    if (tag == 32) scanned.token = value;
  }
  return scanned;
}

// ScanResult: version = 1, repeated ScanToken tokens = 2.
std::vector<Scanned> ReadTokens(const PgQueryProtobuf& packed) {
  std::vector<Scanned> tokens;
  CodedInputStream in(reinterpret_cast<const uint8_t*>(packed.data), static_cast<int>(packed.len));
  while (const uint32_t tag = in.ReadTag()) {
    uint32_t value = 0;
    Check(in.ReadVarint32(&value));
    if (tag != 18) continue;
    const CodedInputStream::Limit limit = in.PushLimit(static_cast<int>(value));
    tokens.push_back(ReadToken(&in));
    in.PopLimit(limit);
  }
  return tokens;
}

// nullopt: Postgres's scanner refuses the text.
std::optional<std::vector<Scanned>> Scan(std::string_view text) {
  const PgQueryScanResult result = pg_query_scan(std::string(text).c_str());
  std::optional<std::vector<Scanned>> tokens;
  if (result.error == nullptr) tokens = ReadTokens(result.pbuf);
  pg_query_free_scan_result(result);
  return tokens;
}

// The text with other literals of the same kinds.
std::string WithOthers(std::string_view text, const postern::sql::TextShape& shape) {
  std::string other;
  size_t at = 0;
  for (const postern::sql::Literal& literal : shape.literals) {
    other.append(text.substr(at, literal.begin - at));
    const std::string_view own = text.substr(literal.begin, literal.end - literal.begin);
    other += literal.is_string ? "'another'" : own.find('.') != std::string_view::npos ? "27.5" : "271828182";
    at = literal.end;
  }
  return other.append(text.substr(at));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  postern::sql::TextShape shape;
  if (!postern::sql::ShapeOf(text, &shape)) return 0;
  const auto tokens = Scan(text);
  const std::string other = WithOthers(text, shape);
  // Texts of one shape are refused alike, and have the same shape.
  Check(Scan(other).has_value() == tokens.has_value());
  postern::sql::TextShape others;
  Check(postern::sql::ShapeOf(other, &others) && others.key == shape.key);
  if (!tokens.has_value()) return 0;
  size_t literal = 0;
  for (const Scanned& token : *tokens) {
    Check(token.token != kUIdent && token.token != kUSConst && token.token != kBConst && token.token != kXConst);
    Check(token.token != kSqlComment && token.token != kCComment);
    if (token.token != kSConst && token.token != kIConst && token.token != kFConst) continue;
    Check(literal < shape.literals.size());
    const postern::sql::Literal& ours = shape.literals[literal++];
    Check(ours.begin == token.begin && ours.end == token.end);
    Check(ours.is_string == (token.token == kSConst));
    const bool decimal = text.substr(ours.begin, ours.end - ours.begin).find('.') != std::string_view::npos;
    if (!ours.is_string) Check(decimal == (token.token == kFConst));
  }
  Check(literal == shape.literals.size());
  return 0;
}
