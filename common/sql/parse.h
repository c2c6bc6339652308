// Runs Postgres's raw parser. Internal to common/sql.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/sql/analysis.h"

struct List;

namespace postern::sql::internal {

// A parsed text and the memory that holds its tree. Not movable: the tree points into it, and libpg_query's memory
// contexts must be left on the thread, and in the order, in which they were entered.
class ParsedText {
 public:
  ParsedText() = default;
  ~ParsedText();
  ParsedText(const ParsedText&) = delete;
  ParsedText& operator=(const ParsedText&) = delete;

  // Call once. Errors as Analyze().
  absl::Status Parse(std::string_view text, const Limits& limits);

  // List of RawStmt; nullptr for empty text.
  const ::List* statements() const { return tree_; }

 private:
  std::string text_;
  void* memory_ = nullptr;
  const ::List* tree_ = nullptr;
};

// True if all of `text` is well-formed UTF-8 (no overlong forms, no surrogates) and holds no NUL.
bool IsPlainUtf8(std::string_view text);

// 64-bit hash of the text's tokens with literals, parameters, comments and white space left out. For grouping alike
// statements in audit and metrics; nothing is decided by it.
uint64_t Fingerprint(std::string_view text);

}  // namespace postern::sql::internal
