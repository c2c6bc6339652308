// COPY's binary format: https://www.postgresql.org/docs/15/sql-copy.html, "Binary Format".
#include <limits>

#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/copy_format.h"

namespace postern::mask {
namespace {

using namespace std::string_view_literals;  // NOLINT: for ""sv

constexpr std::string_view kSignature = "PGCOPY\n\xff\r\n\0"sv;
constexpr uint32_t kCriticalFlags = 0xffff0000;
constexpr uint32_t kLongestExtension = 1 << 20;
constexpr uint16_t kTrailer = 0xffff;
constexpr uint32_t kNull = 0xffffffff;

// How much of the bytes a part takes; absent when more are needed.
using Size = absl::StatusOr<std::optional<size_t>>;

class CopyBinary final : public CopyFormat {
 public:
  using CopyFormat::CopyFormat;

  absl::Status Consume(std::string_view payload, std::string* out) override {
    // Usually the server sends whole rows, and nothing needs to be kept.
    if (pending_.empty()) {
      absl::StatusOr<size_t> used = ConsumeParts(payload, out);
      if (!used.ok()) return std::move(used).status();
      pending_.assign(payload.substr(*used));
      return absl::OkStatus();
    }
    if (pending_.size() + payload.size() > kLongestRow) return MalformedCopy("COPY row without an end");
    pending_.append(payload);
    absl::StatusOr<size_t> used = ConsumeParts(pending_, out);
    if (!used.ok()) return std::move(used).status();
    pending_.erase(0, *used);
    return absl::OkStatus();
  }

  absl::Status Finish() override {
    return state_ == State::kDone && pending_.empty() ? absl::OkStatus()
                                                      : MalformedCopy("COPY ends before its trailer");
  }

 private:
  enum class State { kHeader, kRows, kDone };

  // Emits every whole part and returns how many bytes those were.
  absl::StatusOr<size_t> ConsumeParts(std::string_view bytes, std::string* out) {
    size_t at = 0;
    while (at < bytes.size()) {
      const std::string_view rest = bytes.substr(at);
      if (state_ == State::kDone) return MalformedCopy("COPY has bytes after its trailer");
      Size size = state_ == State::kHeader ? Header(rest) : Row(rest, out);
      if (!size.ok()) return std::move(size).status();
      if (!*size) return at;
      if (state_ == State::kHeader) {
        CopyDataBuilder message(out);
        out->append(rest.substr(0, **size));
        if (absl::Status status = message.Finish(); !status.ok()) return status;
        state_ = State::kRows;
      }
      at += **size;
    }
    return at;
  }

  static Size Header(std::string_view bytes) {
    const std::string_view signature = bytes.substr(0, kSignature.size());
    if (signature != kSignature.substr(0, signature.size())) return MalformedCopy("COPY without a binary signature");
    if (bytes.size() < kSignature.size() + 8) return std::nullopt;
    if ((ReadUint32(bytes.substr(kSignature.size())) & kCriticalFlags) != 0) {
      return MalformedCopy("COPY with a binary feature that is not known");
    }
    const uint32_t extension = ReadUint32(bytes.substr(kSignature.size() + 4));
    if (extension > kLongestExtension) return MalformedCopy("COPY with an oversized header extension");
    const size_t size = kSignature.size() + 8 + extension;
    if (bytes.size() < size) return std::nullopt;
    return size;
  }

  // A row, or the trailer; emitted when whole.
  Size Row(std::string_view bytes, std::string* out) {
    if (bytes.size() < 2) return std::nullopt;
    const uint16_t columns = ReadUint16(bytes);
    if (columns == kTrailer) {
      CopyDataBuilder message(out);
      out->append(bytes.substr(0, 2));
      state_ = State::kDone;
      if (absl::Status status = message.Finish(); !status.ok()) return status;
      return 2;
    }
    if (columns != column_count_) return MalformedCopy("COPY row with another number of columns");
    Size size = RowSize(bytes);
    if (!size.ok() || !*size) return size;
    CopyDataBuilder message(out);
    RewriteRow(bytes.substr(0, **size), out);
    if (absl::Status status = message.Finish(); !status.ok()) return status;
    return size;
  }

  Size RowSize(std::string_view bytes) const {
    size_t at = 2;
    for (int column = 0; column < column_count_; ++column) {
      if (bytes.size() - at < 4) return std::nullopt;
      const uint32_t length = ReadUint32(bytes.substr(at));
      const size_t size = length == kNull ? 0 : length;
      if (size > static_cast<size_t>(std::numeric_limits<int32_t>::max())) return MalformedCopy("COPY field too long");
      if (bytes.size() - at - 4 < size) return std::nullopt;
      at += 4 + size;
    }
    return at;
  }

  // `row` is whole.
  void RewriteRow(std::string_view row, std::string* out) const {
    out->append(row.substr(0, 2));
    size_t at = 2;
    auto mask = masks_.begin();
    for (int column = 0; column < column_count_; ++column) {
      const uint32_t length = ReadUint32(row.substr(at));
      const size_t size = length == kNull ? 0 : length;
      const bool masked = mask != masks_.end() && mask->column == column;
      if (masked && length != kNull) {
        AppendMasked(*mask, row.substr(at + 4, size), out);
      } else {
        out->append(row.substr(at, 4 + size));
      }
      if (masked) ++mask;
      at += 4 + size;
    }
  }

  void AppendMasked(const ColumnMask& mask, std::string_view value, std::string* out) const {
    const size_t length_at = out->size();
    out->append(4, '\0');
    const bool kept = masker_.Apply(mask, 1, value, out);
    if (!kept) out->resize(length_at + 4);
    PutUint32(kept ? static_cast<uint32_t>(out->size() - length_at - 4) : kNull, length_at, out);
  }

  State state_ = State::kHeader;
  std::string pending_;
};

}  // namespace

std::unique_ptr<CopyFormat> MakeCopyBinary(const Masker& masker, int column_count, std::vector<ColumnMask> masks) {
  return std::make_unique<CopyBinary>(masker, column_count, std::move(masks));
}

}  // namespace postern::mask
