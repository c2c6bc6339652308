// The tokens of a text, by Postgres's own scanner. Internal to common/sql and its tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace postern::sql::internal {

struct Token {
  // Postgres's number: the character itself for punctuation.
  uint32_t kind = 0;
  uint32_t begin = 0;
  uint32_t end = 0;
};

// Of libpg_query's enumeration (pg_query.proto).
inline constexpr uint32_t kTokenIdent = 258;
inline constexpr uint32_t kTokenUIdent = 259;  // U&"…"
inline constexpr uint32_t kTokenFConst = 260;
inline constexpr uint32_t kTokenSConst = 261;
inline constexpr uint32_t kTokenUSConst = 262;
inline constexpr uint32_t kTokenBConst = 263;
inline constexpr uint32_t kTokenXConst = 264;
inline constexpr uint32_t kTokenIConst = 266;
inline constexpr uint32_t kTokenSqlComment = 275;
inline constexpr uint32_t kTokenCComment = 276;

// Comments included. nullopt: the scanner refuses the text.
std::optional<std::vector<Token>> ScanTokens(std::string_view text);

}  // namespace postern::sql::internal
