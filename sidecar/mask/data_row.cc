#include <limits>

#include "common/base/errors.h"
#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/mask.h"

namespace postern::mask {
namespace {

constexpr uint32_t kNull = 0xffffffff;
constexpr size_t kHeader = 5;  // type and length

absl::Status Malformed(std::string_view why) { return Error(absl::StatusCode::kDataLoss, "MALFORMED_DATA_ROW", why); }

// Appends to `out` what follows the message header. Fields that are not masked are copied in runs.
absl::Status Rewrite(const Masker& masker, const std::vector<ColumnMask>& masks, std::string_view body,
                     std::string* out) {
  if (body.size() < 2) return Malformed("DataRow without a column count");
  const int columns = ReadUint16(body);
  if (columns > std::numeric_limits<int16_t>::max()) return Malformed("DataRow with a negative column count");
  size_t at = 2;
  size_t run = 0;  // start of what has not been copied yet
  auto mask = masks.begin();
  for (int column = 0; column < columns; ++column) {
    if (body.size() - at < 4) return Malformed("DataRow ends within a length");
    const uint32_t length = ReadUint32(body.substr(at));
    const size_t size = length == kNull ? 0 : length;
    if (size > body.size() - at - 4) return Malformed("DataRow field is longer than its row");
    const std::string_view value = body.substr(at + 4, size);
    const size_t end = at + 4 + size;
    if (mask != masks.end() && mask->column == column) {
      if (length != kNull) {
        out->append(body.substr(run, at - run));
        run = end;
        const size_t length_at = out->size();
        out->append(4, '\0');
        const bool kept = masker.Apply(*mask, mask->format, value, out);
        if (!kept) out->resize(length_at + 4);
        PutUint32(kept ? static_cast<uint32_t>(out->size() - length_at - 4) : kNull, length_at, out);
      }
      ++mask;
    }
    at = end;
  }
  if (at != body.size()) return Malformed("DataRow has bytes after its last field");
  if (mask != masks.end()) return Malformed("DataRow lacks a column that must be masked");
  out->append(body.substr(run));
  return absl::OkStatus();
}

}  // namespace

absl::Status RewriteDataRow(const Masker& masker, const std::vector<ColumnMask>& masks, std::string_view body,
                            std::string* out) {
  const size_t begin = out->size();
  out->append("D\0\0\0\0", kHeader);
  absl::Status status = Rewrite(masker, masks, body, out);
  const size_t length = out->size() - begin - 1;
  if (status.ok() && length > static_cast<size_t>(std::numeric_limits<int32_t>::max())) {
    status = Malformed("DataRow is too long once masked");
  }
  if (!status.ok()) {
    out->resize(begin);
    return status;
  }
  PutUint32(static_cast<uint32_t>(length), begin + 1, out);
  return absl::OkStatus();
}

}  // namespace postern::mask
