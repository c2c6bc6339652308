#include "common/sql/parse.h"

#include "common/base/errors.h"
#include "common/sql/pg_nodes.h"
#include "fmt/format.h"

namespace postern::sql::internal {
namespace {

absl::Status TooComplex(std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, "STATEMENT_TOO_COMPLEX", message,
               "Split the statement into smaller ones.");
}

}  // namespace

bool IsPlainUtf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead == 0) return false;
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const int length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || i + length > text.size()) return false;
    uint32_t code = lead & (0xFF >> (length + 1));
    for (int k = 1; k < length; ++k) {
      const auto trail = static_cast<unsigned char>(text[i + k]);
      if ((trail & 0xC0) != 0x80) return false;
      code = (code << 6) | (trail & 0x3F);
    }
    const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
    if (overlong || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) return false;
    i += length;
  }
  return true;
}

ParsedText::~ParsedText() {
  if (memory_ != nullptr) pg_query_exit_memory_context(static_cast<MemoryContext>(memory_));
}

absl::Status ParsedText::Parse(std::string_view text, const Limits& limits) {
  if (text.size() > limits.max_text_bytes) {
    return TooComplex(
        fmt::format("statement text is {} bytes, more than the limit of {}", text.size(), limits.max_text_bytes));
  }
  if (!IsPlainUtf8(text)) {
    return Error(absl::StatusCode::kInvalidArgument, "SYNTAX_ERROR", "statement text is not valid UTF-8",
                 "Set the client's encoding to UTF8.");
  }
  text_ = std::string(text);
  memory_ = pg_query_enter_memory_context();
  PgQueryInternalParsetreeAndError result = pg_query_raw_parse(text_.c_str());
  free(result.stderr_buffer);
  if (result.error != nullptr) {
    const std::string message = result.error->message == nullptr ? "syntax error" : result.error->message;
    const int position = result.error->cursorpos;
    pg_query_free_error(result.error);
    return Error(absl::StatusCode::kInvalidArgument, "SYNTAX_ERROR", message, "",
                 {{"position", std::to_string(position)}});
  }
  tree_ = result.tree;
  const Items statements(tree_);
  if (statements.size() > limits.max_statements) {
    return TooComplex(fmt::format("message holds {} statements, more than the limit of {}", statements.size(),
                                  limits.max_statements));
  }
  return absl::OkStatus();
}

}  // namespace postern::sql::internal
