// COPY's text format: https://www.postgresql.org/docs/15/sql-copy.html, "Text Format"; CopyAttributeOutText.
#include "sidecar/mask/copy_format.h"

namespace postern::mask {
namespace {

int OctalDigit(char c) { return c >= '0' && c <= '7' ? c - '0' : -1; }

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// One escape; `at` is behind the backslash and moves behind the escape.
char Unescape(std::string_view field, size_t* at) {
  const char c = field[(*at)++];
  switch (c) {
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'n':
      return '\n';
    case 'r':
      return '\r';
    case 't':
      return '\t';
    case 'v':
      return '\v';
    default:
      break;
  }
  if (OctalDigit(c) >= 0) {
    int value = OctalDigit(c);
    for (int i = 0; i < 2 && *at < field.size() && OctalDigit(field[*at]) >= 0; ++i) {
      value = value * 8 + OctalDigit(field[(*at)++]);
    }
    return static_cast<char>(value & 0xff);
  }
  if (c == 'x' && *at < field.size() && HexDigit(field[*at]) >= 0) {
    int value = HexDigit(field[(*at)++]);
    if (*at < field.size() && HexDigit(field[*at]) >= 0) value = value * 16 + HexDigit(field[(*at)++]);
    return static_cast<char>(value);
  }
  return c;
}

std::string Decode(std::string_view field) {
  std::string value;
  value.reserve(field.size());
  for (size_t at = 0; at < field.size();) {
    const char c = field[at++];
    value.push_back(c == '\\' && at < field.size() ? Unescape(field, &at) : c);
  }
  return value;
}

void AppendEncoded(std::string_view value, char delimiter, std::string* out) {
  for (const char c : value) {
    switch (c) {
      case '\b':
        out->append("\\b");
        break;
      case '\f':
        out->append("\\f");
        break;
      case '\n':
        out->append("\\n");
        break;
      case '\r':
        out->append("\\r");
        break;
      case '\t':
        out->append("\\t");
        break;
      case '\v':
        out->append("\\v");
        break;
      default:
        if (c == '\\' || c == delimiter) out->push_back('\\');
        out->push_back(c);
    }
  }
}

class CopyText final : public CopyLines {
 public:
  CopyText(const Masker& masker, const sql::Statement::Copy& options, int column_count, std::vector<ColumnMask> masks)
      : CopyLines(masker, options, column_count, std::move(masks)),
        // A backslash of a value is always doubled, so \N is never a value's; and "" says of a value only that it is
        // empty. Any other NULL may be the text of a value.
        null_ambiguous_(!null_string_.empty() && null_string_ != "\\N") {}

 private:
  bool EndsRow(char c) override {
    if (escaped_) {
      escaped_ = false;
      return false;
    }
    escaped_ = c == '\\';
    return c == '\n';
  }

  absl::StatusOr<size_t> FieldEnd(std::string_view row, size_t at) const override {
    for (; at < row.size(); ++at) {
      if (row[at] == delimiter_) return at;
      if (row[at] == '\\' && ++at == row.size()) return MalformedCopy("COPY field ends within an escape");
    }
    return at;
  }

  absl::Status MaskField(const ColumnMask& mask, std::string_view field, std::string* out) const override {
    std::string masked;
    // Detectors look for what no text of NULL is.
    const bool is_null = (null_ambiguous_ && mask.detect.empty()) || field == null_string_ || field == "\\N";
    if (is_null || !masker_.Apply(mask, 0, Decode(field), &masked)) {
      out->append(null_string_);
    } else {
      AppendEncoded(masked, delimiter_, out);
    }
    return absl::OkStatus();
  }

  const bool null_ambiguous_;
  bool escaped_ = false;
};

}  // namespace

std::unique_ptr<CopyFormat> MakeCopyText(const Masker& masker, const sql::Statement::Copy& options, int column_count,
                                         std::vector<ColumnMask> masks) {
  return std::make_unique<CopyText>(masker, options, column_count, std::move(masks));
}

}  // namespace postern::mask
