// Masking: rewriting of result values so that each stays valid for its type, in text and in binary format.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "common/crypto/secret.h"
#include "common/sql/analysis.h"
#include "common/sql/catalog.h"
#include "postern/v1/policy.pb.h"
#include "sidecar/mask/detect.h"

namespace postern::mask {

struct ColumnMask {
  int column = 0;  // position in the row, from 0
  v1::MaskStrategy strategy = v1::MASK_STRATEGY_REDACT;
  sql::Oid type = 0;
  int16_t format = 0;
  // Not empty: no strategy; the values are searched, and what is found is counted.
  policy::DetectorSet detect = {};
  policy::DetectorSet alarm = {};
  std::shared_ptr<DetectorCounts> counts = nullptr;
};

// Produces masked values of one target. Immutable; shared between threads. The key makes hashes unguessable; without a
// key HASH is REDACT.
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

  // The same by `mask`, whose `format` is not looked at: its strategy, or what its detectors find in the value.
  bool Apply(const ColumnMask& mask, int16_t format, std::string_view value, std::string* out) const;

  // True if `value` is a mask's output (redaction constant, "***@", hash form): such a value in a write would put the
  // mask over the data.
  // The forms are those of text_masks.h; constants of types that people use, such as 0 and 1970-01-01, are not
  // sentinels.
  static bool IsSentinel(std::string_view value);

 private:
  bool MaskText(v1::MaskStrategy strategy, std::string_view value, std::string* out) const;
  bool MaskUuid(v1::MaskStrategy strategy, int16_t format, std::string_view value, std::string* out) const;

  crypto::Secret key_;
};

// Rewrites one DataRow body (after type and length) and appends a whole DataRow message to `out`. `masks` are in the
// order of their columns, one for each at most.
//   DATA_LOSS/MALFORMED_DATA_ROW: the body does not parse, or has no such column; nothing is appended; the session must
//   end.
absl::Status RewriteDataRow(const Masker& masker, const std::vector<ColumnMask>& masks, std::string_view body,
                            std::string* out);

class CopyFormat;  // copy_format.h

// Masks a COPY … TO STDOUT stream. Rows may be split over CopyData messages at any byte; masked rows come out whole,
// one per CopyData, and header lines as they are. Not thread-safe: one per COPY. After an error it must not be used.
//
// COPY's options can make the text of NULL equal to that of a value. Where that is so, every value of a masked column
// comes out as NULL, so that `NULL 'guess'` tells nothing.
class CopyMasker {
 public:
  // `column_count` and `masks` of the COPY's output, in the order of their columns; types in `masks` come from the
  // catalog; format is ignored. `masker` must outlive this.
  CopyMasker(const Masker& masker, const sql::Statement::Copy& options, int column_count,
             std::vector<ColumnMask> masks);
  ~CopyMasker();
  // Consumes the payload of one CopyData and appends zero or more whole CopyData messages to `out`.
  //   DATA_LOSS/MALFORMED_COPY: it is not what the options say, or in an encoding other than UTF-8; the session must
  //   end.
  absl::Status Consume(std::string_view payload, std::string* out);
  // At CopyDone: anything left over is an error. Appends nothing today.
  absl::Status Finish(std::string* out);

 private:
  std::unique_ptr<CopyFormat> format_;
};

// Removes what could carry a value from the fields of an ErrorResponse or NoticeResponse body (after type and length)
// and returns the new body: severity and SQLSTATE stay, and the position in a statement that does not compile. The
// message is replaced by the name of the SQLSTATE's condition, unless it is word for word one of those that the server
// says without naming anything (cancelled, timeouts, shutdowns). SQLSTATE alone is no such proof: to_tsquery(email)
// fails with "syntax error" and quotes its argument, and functions may raise any SQLSTATE with any text. A body that
// does not parse becomes an error of its own.
std::string ScrubErrorFields(std::string_view body);

}  // namespace postern::mask
