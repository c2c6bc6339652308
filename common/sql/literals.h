// A text with its literals taken out: what two statements share that differ in values only.
//
// Postgres's grammar sees literals as tokens without content, so texts with equal keys have equal parse trees but for
// the content of their constants (PostgreSQL documentation, 4.1.2; src/backend/parser/scan.l). Only a subset of the
// lexical structure is taken: what is outside it has no key, and is analysed as it stands. tests/fuzz compares the
// subset with Postgres's own scanner.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace postern::sql {

// One literal of the text: its bytes [begin, end), quotes included.
struct Literal {
  uint32_t begin = 0;
  uint32_t end = 0;
  bool is_string = false;
};

struct TextShape {
  // The text, with a mark for the kind in place of each literal.
  std::string key;
  std::vector<Literal> literals;
};

// Fills `shape`, whose memory is used again. False: the text is outside the subset (comments, escapes, dollar quotes,
// prefixed and continued strings, numbers that are not plainly integers of nine digits at most or decimals, bytes that
// are not UTF-8).
bool ShapeOf(std::string_view text, TextShape* shape);

// The content of a string literal, if it holds no quote of its own; empty otherwise.
std::string_view ContentOf(std::string_view text, const Literal& literal);

}  // namespace postern::sql
