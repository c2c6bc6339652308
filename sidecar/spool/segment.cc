#include "sidecar/spool/segment.h"

#include <limits>

#include "common/audit/crc32c.h"
#include "common/base/errors.h"

namespace postern::spool {
namespace {

using audit::AppendBe16;
using audit::AppendBe32;
using audit::AppendBe64;
using audit::ReadBe16;
using audit::ReadBe32;
using audit::ReadBe64;

constexpr char kHeaderPayload = 1;
constexpr char kRecordPayload = 2;
constexpr char kLedgerPayload = 3;
constexpr size_t kFrameHead = 8;

// Frames `out[start + kFrameHead ..]`, for which the head was left free at `start`.
void FinishFrame(std::string& out, size_t start) {
  std::string head;
  AppendBe32(head, static_cast<uint32_t>(out.size() - start - kFrameHead));
  const uint32_t crc = audit::Crc32c(std::string_view(out).substr(start + kFrameHead), audit::Crc32c(head));
  AppendBe32(head, crc);
  out.replace(start, kFrameHead, head);
}

void AppendName(std::string& out, const std::string& name) {
  AppendBe16(out, static_cast<uint16_t>(name.size()));
  out += name;
}

// Takes fields off the front of a payload; false, and stays so, once one does not fit.
class Fields {
 public:
  explicit Fields(std::string_view payload) : rest_(payload) {}
  bool Take(size_t n, std::string_view& out) {
    if (!ok_ || rest_.size() < n) return ok_ = false;
    out = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return true;
  }
  bool Type(char expected) {
    std::string_view byte;
    return Take(1, byte) && (ok_ = byte[0] == expected);
  }
  // A number that is never negative.
  bool Number(int64_t& out) {
    std::string_view bytes;
    if (!Take(8, bytes)) return false;
    const uint64_t value = ReadBe64(bytes.data());
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return ok_ = false;
    out = static_cast<int64_t>(value);
    return true;
  }
  bool Name(std::string& out) {
    std::string_view bytes;
    if (!Take(2, bytes) || !Take(ReadBe16(bytes.data()), bytes)) return false;
    out = bytes;
    return true;
  }
  bool Done() const { return ok_ && rest_.empty(); }
  std::string_view rest() const { return rest_; }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

}  // namespace

std::string EncodeHeader(const SegmentHeader& header) {
  std::string out(kSegmentMagic);
  const size_t start = out.size();
  out.append(kFrameHead, '\0');
  out += kHeaderPayload;
  AppendBe64(out, static_cast<uint64_t>(header.number));
  AppendBe64(out, static_cast<uint64_t>(header.first_sequence));
  out += audit::View(header.previous_hash);
  AppendName(out, header.writer);
  AppendName(out, header.epoch);
  FinishFrame(out, start);
  return out;
}

void AppendRecordFrame(std::string& out, int64_t sequence, std::string_view chain_hash, std::string_view record) {
  const size_t start = out.size();
  out.append(kFrameHead, '\0');
  out += kRecordPayload;
  AppendBe64(out, static_cast<uint64_t>(sequence));
  out += chain_hash;
  out += record;
  FinishFrame(out, start);
}

Read SegmentReader::ReadFrame(std::string_view& payload) {
  const std::string_view rest = bytes_.substr(offset_);
  wanted_ = 0;
  if (rest.empty()) return Read::kEnd;
  if (rest.size() < kFrameHead) return Read::kPartial;
  const uint32_t length = ReadBe32(rest.data());
  if (length == 0 || length > kMaxPayload) return Read::kDamaged;
  if (rest.size() - kFrameHead < length) {
    wanted_ = kFrameHead + length;
    return Read::kPartial;
  }
  payload = rest.substr(kFrameHead, length);
  if (audit::Crc32c(payload, audit::Crc32c(rest.substr(0, 4))) != ReadBe32(rest.data() + 4)) return Read::kDamaged;
  return Read::kWhole;
}

Read SegmentReader::ReadHeader(SegmentHeader& header) {
  if (bytes_.size() < kSegmentMagic.size()) return Read::kPartial;
  if (!bytes_.starts_with(kSegmentMagic)) return Read::kDamaged;
  offset_ = kSegmentMagic.size();
  std::string_view payload;
  const Read read = ReadFrame(payload);
  if (read != Read::kWhole) {
    offset_ = 0;
    return read == Read::kEnd ? Read::kPartial : read;
  }
  Fields fields(payload);
  std::string_view hash;
  if (!(fields.Type(kHeaderPayload) && fields.Number(header.number) && fields.Number(header.first_sequence) &&
        fields.Take(audit::kDigestBytes, hash) && fields.Name(header.writer) && fields.Name(header.epoch) &&
        fields.Done() && header.first_sequence > 0)) {
    offset_ = 0;
    return Read::kDamaged;
  }
  header.previous_hash = *audit::ToDigest(hash);
  offset_ += kFrameHead + payload.size();
  return Read::kWhole;
}

Read SegmentReader::Next(RecordFrame& record) {
  std::string_view payload;
  const Read read = ReadFrame(payload);
  if (read != Read::kWhole) return read;
  Fields fields(payload);
  if (!(fields.Type(kRecordPayload) && fields.Number(record.sequence) &&
        fields.Take(audit::kDigestBytes, record.chain_hash) && record.sequence > 0)) {
    return Read::kDamaged;
  }
  record.record = fields.rest();
  offset_ += kFrameHead + payload.size();
  return Read::kWhole;
}

std::string EncodeLedger(const Ledger& ledger) {
  std::string out(kLedgerMagic);
  const size_t start = out.size();
  out.append(kFrameHead, '\0');
  out += kLedgerPayload;
  AppendName(out, ledger.writer);
  AppendName(out, ledger.acknowledged_epoch);
  AppendBe64(out, static_cast<uint64_t>(ledger.acknowledged_sequence));
  AppendName(out, ledger.head_epoch);
  AppendBe64(out, static_cast<uint64_t>(ledger.head_sequence));
  FinishFrame(out, start);
  return out;
}

absl::StatusOr<Ledger> DecodeLedger(std::string_view bytes) {
  const auto damaged = [] {
    return Error(absl::StatusCode::kDataLoss, "SPOOL_DAMAGED", "the spool's ledger does not read as it was written");
  };
  if (!bytes.starts_with(kLedgerMagic)) return damaged();
  bytes.remove_prefix(kLedgerMagic.size());
  if (bytes.size() < kFrameHead || bytes.size() - kFrameHead != ReadBe32(bytes.data())) return damaged();
  const std::string_view payload = bytes.substr(kFrameHead);
  if (audit::Crc32c(payload, audit::Crc32c(bytes.substr(0, 4))) != ReadBe32(bytes.data() + 4)) return damaged();
  Fields fields(payload);
  Ledger ledger;
  if (!(fields.Type(kLedgerPayload) && fields.Name(ledger.writer) && fields.Name(ledger.acknowledged_epoch) &&
        fields.Number(ledger.acknowledged_sequence) && fields.Name(ledger.head_epoch) &&
        fields.Number(ledger.head_sequence) && fields.Done())) {
    return damaged();
  }
  return ledger;
}

}  // namespace postern::spool
