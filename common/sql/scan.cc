#include "common/sql/scan.h"

#include <string>

#include "google/protobuf/io/coded_stream.h"

// After everything else, for its macros.
#include "common/sql/pg_nodes.h"

namespace postern::sql::internal {
namespace {

using google::protobuf::io::CodedInputStream;

// ScanToken: start = 1, end = 2, token = 4, each a varint.
std::optional<Token> ReadToken(CodedInputStream* in) {
  Token token;
  while (const uint32_t tag = in->ReadTag()) {
    uint32_t value = 0;
    if (!in->ReadVarint32(&value)) return std::nullopt;
    if (tag == 8) token.begin = value;
    if (tag == 16) token.end = value;
    if (tag == 32) token.kind = value;
  }
  return token;
}

// ScanResult: version = 1, repeated ScanToken tokens = 2.
std::optional<std::vector<Token>> ReadTokens(const PgQueryProtobuf& packed) {
  std::vector<Token> tokens;
  CodedInputStream in(reinterpret_cast<const uint8_t*>(packed.data), static_cast<int>(packed.len));
  while (const uint32_t tag = in.ReadTag()) {
    uint32_t value = 0;
    if (!in.ReadVarint32(&value)) return std::nullopt;
    if (tag != 18) continue;
    const CodedInputStream::Limit limit = in.PushLimit(static_cast<int>(value));
    const std::optional<Token> token = ReadToken(&in);
    if (!token.has_value()) return std::nullopt;
    tokens.push_back(*token);
    in.PopLimit(limit);
  }
  return tokens;
}

}  // namespace

std::optional<std::vector<Token>> ScanTokens(std::string_view text) {
  const PgQueryScanResult result = pg_query_scan(std::string(text).c_str());
  std::optional<std::vector<Token>> tokens;
  if (result.error == nullptr) tokens = ReadTokens(result.pbuf);
  pg_query_free_scan_result(result);
  return tokens;
}

}  // namespace postern::sql::internal
