// COPY's CSV format: https://www.postgresql.org/docs/15/sql-copy.html, "CSV Format"; CopyAttributeOutCSV.
//
// The server quotes every value that equals the NULL string, so a field without quotes that equals it is NULL and there
// is no ambiguity as in text.
#include "sidecar/mask/copy_format.h"

namespace postern::mask {
namespace {

class CopyCsv final : public CopyLines {
 public:
  CopyCsv(const Masker& masker, const sql::Statement::Copy& options, int column_count, std::vector<ColumnMask> masks)
      : CopyLines(masker, options, column_count, std::move(masks)),
        quote_(options.quote.empty() ? '"' : options.quote[0]),
        escape_(options.escape.empty() ? quote_ : options.escape[0]) {}

 private:
  // With quote and escape alike, a doubled quote leaves and enters the quotes again, which is as good.
  bool EndsRow(char c) override {
    if (escaped_) {
      escaped_ = false;
    } else if (in_quotes_ && c == escape_ && escape_ != quote_) {
      escaped_ = true;
    } else if (c == quote_) {
      in_quotes_ = !in_quotes_;
    }
    return c == '\n' && !in_quotes_;
  }

  absl::StatusOr<size_t> FieldEnd(std::string_view row, size_t at) const override {
    if (at == row.size() || row[at] != quote_) {
      for (; at < row.size() && row[at] != delimiter_; ++at) {
        if (row[at] == quote_) return MalformedCopy("COPY field has a quote inside");
      }
      return at;
    }
    for (++at; at < row.size(); ++at) {
      const bool escapes =
          row[at] == escape_ && at + 1 < row.size() && (row[at + 1] == quote_ || row[at + 1] == escape_);
      if (escapes) {
        ++at;
      } else if (row[at] == quote_) {
        ++at;
        if (at < row.size() && row[at] != delimiter_) return MalformedCopy("COPY field goes on after its quote");
        return at;
      }
    }
    return MalformedCopy("COPY field without its closing quote");
  }

  absl::Status MaskField(const ColumnMask& mask, std::string_view field, std::string* out) const override {
    std::string masked;
    const bool quoted = !field.empty() && field[0] == quote_;
    if ((!quoted && field == null_string_) ||
        !masker_.Apply(mask, 0, quoted ? Unquote(field) : std::string(field), &masked)) {
      out->append(null_string_);
    } else {
      AppendField(masked, quoted, out);
    }
    return absl::OkStatus();
  }

  std::string Unquote(std::string_view field) const {
    std::string value;
    for (size_t at = 1; at + 1 < field.size(); ++at) {
      const bool escapes =
          field[at] == escape_ && at + 2 < field.size() && (field[at + 1] == quote_ || field[at + 1] == escape_);
      if (escapes) ++at;
      value.push_back(field[at]);
    }
    return value;
  }

  // `forced`: the server had quoted it, which FORCE_QUOTE may have asked for.
  void AppendField(std::string_view value, bool forced, std::string* out) const {
    bool quotes = forced || value.empty() || value == null_string_ || value == "\\.";
    for (const char c : value) quotes = quotes || c == delimiter_ || c == quote_ || c == '\n' || c == '\r';
    if (!quotes) {
      out->append(value);
      return;
    }
    out->push_back(quote_);
    for (const char c : value) {
      if (c == quote_ || c == escape_) out->push_back(escape_);
      out->push_back(c);
    }
    out->push_back(quote_);
  }

  const char quote_;
  const char escape_;
  bool in_quotes_ = false;
  bool escaped_ = false;
};

}  // namespace

std::unique_ptr<CopyFormat> MakeCopyCsv(const Masker& masker, const sql::Statement::Copy& options, int column_count,
                                        std::vector<ColumnMask> masks) {
  return std::make_unique<CopyCsv>(masker, options, column_count, std::move(masks));
}

}  // namespace postern::mask
