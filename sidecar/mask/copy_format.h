// The three formats of COPY … TO STDOUT, each as a stream filter. Inside of CopyMasker.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "sidecar/mask/mask.h"

namespace postern::mask {

// DATA_LOSS/MALFORMED_COPY.
absl::Status MalformedCopy(std::string_view why);

// Appends a CopyData message with the bytes that `out` has from `begin` on: they are moved behind a header.
class CopyDataBuilder {
 public:
  // Begins a message at the end of `out`.
  explicit CopyDataBuilder(std::string* out);
  // Completes it: MALFORMED_COPY if it is longer than a message may be.
  absl::Status Finish();
  // Takes back all of it.
  void Abandon();

 private:
  std::string* out_;
  size_t begin_;
};

class CopyFormat {
 public:
  CopyFormat(const Masker& masker, int column_count, std::vector<ColumnMask> masks)
      : masker_(masker), column_count_(column_count), masks_(std::move(masks)) {}
  virtual ~CopyFormat() = default;

  virtual absl::Status Consume(std::string_view payload, std::string* out) = 0;
  virtual absl::Status Finish() = 0;

 protected:
  // Bytes of one row that are kept while it is not whole: Postgres itself cannot make a longer one.
  static constexpr size_t kLongestRow = size_t{1} << 30;

  const Masker& masker_;
  const int column_count_;
  const std::vector<ColumnMask> masks_;
};

// Rows that end with a newline, in text and CSV.
class CopyLines : public CopyFormat {
 public:
  CopyLines(const Masker& masker, const sql::Statement::Copy& options, int column_count, std::vector<ColumnMask> masks);
  absl::Status Consume(std::string_view payload, std::string* out) final;
  absl::Status Finish() final;

 protected:
  // Feeds one byte to the row splitter; true if the row ends with it.
  virtual bool EndsRow(char c) = 0;
  // The end of the field that starts at `at` of a row without its newline: where its delimiter or the row's end is.
  virtual absl::StatusOr<size_t> FieldEnd(std::string_view row, size_t at) const = 0;
  // Appends the replacement of a field as it stands in the row.
  virtual absl::Status MaskField(const ColumnMask& mask, std::string_view field, std::string* out) const = 0;

  const char delimiter_;
  const std::string null_string_;

 private:
  absl::Status EmitRow(std::string_view row, std::string* out);
  absl::Status RewriteRow(std::string_view row, std::string* out) const;

  bool header_due_;
  std::string pending_;
};

std::unique_ptr<CopyFormat> MakeCopyText(const Masker& masker, const sql::Statement::Copy& options, int column_count,
                                         std::vector<ColumnMask> masks);
std::unique_ptr<CopyFormat> MakeCopyCsv(const Masker& masker, const sql::Statement::Copy& options, int column_count,
                                        std::vector<ColumnMask> masks);
std::unique_ptr<CopyFormat> MakeCopyBinary(const Masker& masker, int column_count, std::vector<ColumnMask> masks);

}  // namespace postern::mask
