// The lexical subset in which plans are shared (common/sql/literals.h) against Postgres's own scanner: where it says
// that a text has a shape, the scanner finds the same literals in the same places, and nothing that hides others.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "common/sql/literals.h"
#include "common/sql/scan.h"

namespace {

using namespace postern::sql::internal;

void Check(bool promise) {
  if (!promise) std::abort();
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
  const auto tokens = ScanTokens(text);
  const std::string other = WithOthers(text, shape);
  // Texts of one shape are refused alike, and have the same shape.
  Check(ScanTokens(other).has_value() == tokens.has_value());
  postern::sql::TextShape others;
  Check(postern::sql::ShapeOf(other, &others) && others.key == shape.key);
  if (!tokens.has_value()) return 0;
  size_t literal = 0;
  for (const Token& token : *tokens) {
    Check(token.kind != kTokenUIdent && token.kind != kTokenUSConst && token.kind != kTokenBConst &&
          token.kind != kTokenXConst);
    Check(token.kind != kTokenSqlComment && token.kind != kTokenCComment);
    if (token.kind != kTokenSConst && token.kind != kTokenIConst && token.kind != kTokenFConst) continue;
    Check(literal < shape.literals.size());
    const postern::sql::Literal& ours = shape.literals[literal++];
    Check(ours.begin == token.begin && ours.end == token.end);
    Check(ours.is_string == (token.kind == kTokenSConst));
    const bool decimal = text.substr(ours.begin, ours.end - ours.begin).find('.') != std::string_view::npos;
    if (!ours.is_string) Check(decimal == (token.kind == kTokenFConst));
  }
  Check(literal == shape.literals.size());
  return 0;
}
