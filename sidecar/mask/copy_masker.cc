#include <algorithm>
#include <cctype>
#include <limits>
#include <utility>

#include "common/base/errors.h"
#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/copy_format.h"

namespace postern::mask {
namespace {

// Names under which Postgres knows UTF-8, compared as it does: letters and digits only, any case. SQL_ASCII sends what
// is stored, which the splitters read bytewise as Postgres does.
bool IsUtf8(std::string_view encoding) {
  std::string name;
  for (const char c : encoding) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
      name.push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
  }
  return name.empty() || name == "utf8" || name == "unicode" || name == "sqlascii";
}

// Stands in for a stream whose options cannot be followed.
class RefusedFormat final : public CopyFormat {
 public:
  RefusedFormat(const Masker& masker, std::string why) : CopyFormat(masker, 0, {}), why_(std::move(why)) {}
  absl::Status Consume(std::string_view, std::string*) override { return MalformedCopy(why_); }
  absl::Status Finish() override { return MalformedCopy(why_); }

 private:
  std::string why_;
};

bool MasksInOrder(const std::vector<ColumnMask>& masks, int column_count) {
  int last = -1;
  for (const ColumnMask& mask : masks) {
    if (mask.column <= last || mask.column >= column_count) return false;
    last = mask.column;
  }
  return true;
}

std::unique_ptr<CopyFormat> MakeFormat(const Masker& masker, const sql::Statement::Copy& options, int column_count,
                                       std::vector<ColumnMask> masks) {
  if (!IsUtf8(options.encoding)) return std::make_unique<RefusedFormat>(masker, "COPY in an encoding other than UTF-8");
  if (!MasksInOrder(masks, column_count)) return std::make_unique<RefusedFormat>(masker, "COPY lacks a masked column");
  if (options.binary) return MakeCopyBinary(masker, column_count, std::move(masks));
  if (options.csv) return MakeCopyCsv(masker, options, column_count, std::move(masks));
  return MakeCopyText(masker, options, column_count, std::move(masks));
}

}  // namespace

absl::Status MalformedCopy(std::string_view why) { return Error(absl::StatusCode::kDataLoss, "MALFORMED_COPY", why); }

CopyDataBuilder::CopyDataBuilder(std::string* out) : out_(out), begin_(out->size()) { out->append("d\0\0\0\0", 5); }

absl::Status CopyDataBuilder::Finish() {
  const size_t length = out_->size() - begin_ - 1;
  if (length > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    Abandon();
    return MalformedCopy("COPY row is too long once masked");
  }
  PutUint32(static_cast<uint32_t>(length), begin_ + 1, out_);
  return absl::OkStatus();
}

void CopyDataBuilder::Abandon() { out_->resize(begin_); }

CopyMasker::CopyMasker(const Masker& masker, const sql::Statement::Copy& options, int column_count,
                       std::vector<ColumnMask> masks)
    : format_(MakeFormat(masker, options, column_count, std::move(masks))) {}
CopyMasker::~CopyMasker() = default;

absl::Status CopyMasker::Consume(std::string_view payload, std::string* out) { return format_->Consume(payload, out); }

absl::Status CopyMasker::Finish(std::string* out) {
  (void)out;
  return format_->Finish();
}

CopyLines::CopyLines(const Masker& masker, const sql::Statement::Copy& options, int column_count,
                     std::vector<ColumnMask> masks)
    : CopyFormat(masker, column_count, std::move(masks)),
      delimiter_(!options.delimiter.empty() ? options.delimiter[0] : (options.csv ? ',' : '\t')),
      null_string_(options.null_string),
      header_due_(options.header) {}

absl::Status CopyLines::Consume(std::string_view payload, std::string* out) {
  size_t row = 0;
  for (size_t i = 0; i < payload.size(); ++i) {
    if (!EndsRow(payload[i])) continue;
    const std::string_view piece = payload.substr(row, i - row);
    row = i + 1;
    absl::Status status;
    if (pending_.empty()) {
      status = EmitRow(piece, out);
    } else {
      pending_.append(piece);
      status = EmitRow(pending_, out);
      pending_.clear();
    }
    if (!status.ok()) return status;
  }
  if (pending_.size() + (payload.size() - row) > kLongestRow) return MalformedCopy("COPY row without an end");
  pending_.append(payload.substr(row));
  return absl::OkStatus();
}

absl::Status CopyLines::Finish() {
  return pending_.empty() ? absl::OkStatus() : MalformedCopy("COPY ends within a row");
}

absl::Status CopyLines::EmitRow(std::string_view row, std::string* out) {
  // Both formats write a carriage return of a value as \r or in quotes, so that a bare one belongs to the line's end.
  const bool carriage_return = row.ends_with('\r');
  if (carriage_return) row.remove_suffix(1);
  CopyDataBuilder message(out);
  absl::Status status = absl::OkStatus();
  if (header_due_) {
    header_due_ = false;
    out->append(row);
  } else {
    status = RewriteRow(row, out);
  }
  if (!status.ok()) {
    message.Abandon();
    return status;
  }
  out->append(carriage_return ? "\r\n" : "\n");
  return message.Finish();
}

absl::Status CopyLines::RewriteRow(std::string_view row, std::string* out) const {
  if (column_count_ == 0) return row.empty() ? absl::OkStatus() : MalformedCopy("COPY row of a table without columns");
  auto mask = masks_.begin();
  size_t at = 0;
  for (int column = 0;; ++column) {
    absl::StatusOr<size_t> end = FieldEnd(row, at);
    if (!end.ok()) return std::move(end).status();
    const std::string_view field = row.substr(at, *end - at);
    if (mask != masks_.end() && mask->column == column) {
      if (absl::Status status = MaskField(*mask, field, out); !status.ok()) return status;
      ++mask;
    } else {
      out->append(field);
    }
    const bool last = *end == row.size();
    if (last != (column + 1 == column_count_)) return MalformedCopy("COPY row with another number of columns");
    if (last) return absl::OkStatus();
    out->push_back(delimiter_);
    at = *end + 1;
  }
}

}  // namespace postern::mask
