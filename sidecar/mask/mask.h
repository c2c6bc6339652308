// Masking: rewriting of result values so that each stays valid for its type, in text and in binary format.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/sql/analysis.h"
#include "common/sql/catalog.h"
#include "postern/v1/policy.pb.h"

namespace postern::mask {

// Produces masked values of one target. Immutable; shared between threads. The key makes hashes unguessable.
class Masker {
 public:
  explicit Masker(std::string key);
  ~Masker();
  Masker(const Masker&) = delete;
  Masker& operator=(const Masker&) = delete;

  // Appends the replacement of one field to `out`; returns false when the field must be NULL instead (strategy NULL, or
  // no valid replacement exists for `type` in `format`). `value` is the field as the server sent it (never NULL: NULL
  // stays NULL). `type` is the type OID of RowDescription, `format` 0 text or 1 binary.
  bool Mask(v1::MaskStrategy strategy, sql::Oid type, int16_t format, std::string_view value, std::string* out) const;

  // True if `value` is a mask's output (redaction constant, "***@", hash form): such a value in a write would put the
  // mask over the data.
  static bool IsSentinel(std::string_view value);

 private:
  std::string key_;
};

struct ColumnMask {
  int column = 0;  // position in the row, from 0
  v1::MaskStrategy strategy = v1::MASK_STRATEGY_REDACT;
  sql::Oid type = 0;
  int16_t format = 0;
};

// Rewrites one DataRow body (after type and length) and appends a whole DataRow message to `out`.
//   DATA_LOSS/MALFORMED_DATA_ROW: the body does not parse; nothing is appended; the session must end.
absl::Status RewriteDataRow(const Masker& masker, const std::vector<ColumnMask>& masks, std::string_view body,
                            std::string* out);

// Masks a COPY … TO STDOUT stream. Rows may be split over CopyData messages at any byte; masked rows come out whole.
// Not thread-safe: one per COPY.
class CopyMasker {
 public:
  // `column_count` and `masks` of the COPY's output; types in `masks` come from the catalog; format is ignored.
  CopyMasker(const Masker& masker, const sql::Statement::Copy& options, int column_count, std::vector<ColumnMask> masks);
  // Consumes the payload of one CopyData and appends zero or more whole CopyData messages to `out`.
  //   DATA_LOSS/MALFORMED_COPY: the session must end.
  absl::Status Consume(std::string_view payload, std::string* out);
  // At CopyDone: anything left over is an error.
  absl::Status Finish(std::string* out);

 private:
  absl::Status ConsumeText(std::string_view payload, std::string* out);
  absl::Status ConsumeCsv(std::string_view payload, std::string* out);
  absl::Status ConsumeBinary(std::string_view payload, std::string* out);

  const Masker& masker_;
  sql::Statement::Copy options_;
  int column_count_;
  std::vector<ColumnMask> masks_;
  std::string pending_;
  bool in_quotes_ = false;
  bool header_done_ = false;
  bool trailer_seen_ = false;
};

// Removes what could carry a value from the fields of an ErrorResponse or NoticeResponse body (after type and length)
// and returns the new body: severity, SQLSTATE, and a generic message stay; M D H W q s t c d n go. SQLSTATEs whose
// message cannot hold data (syntax errors, permission denied, undefined objects, cancelled, timeouts…) keep theirs.
std::string ScrubErrorFields(std::string_view body);

}  // namespace postern::mask
