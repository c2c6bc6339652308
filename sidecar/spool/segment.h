// The bytes of the spool's files: encoding and reading, without touching a file. docs/formats/spool.md.
//
//   frame  = be32 payload length || be32 CRC-32C of (length || payload) || payload
//   segment = magic || header frame || record frame*
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "common/audit/digest.h"

namespace postern::spool {

inline constexpr std::string_view kSegmentMagic = "POSTERN-SPOOL-1\n";
inline constexpr std::string_view kLedgerMagic = "POSTERN-LEDGER1\n";

// Longest payload that is believed. Above it a length is damage rather than a frame.
inline constexpr uint32_t kMaxPayload = 16 << 20;

struct SegmentHeader {
  // Files of a spool are numbered in the order of their creation, across epochs.
  int64_t number = 0;
  // Sequence of its first record, and chain hash of the record before that (zeros before record 1).
  int64_t first_sequence = 1;
  audit::Digest previous_hash{};
  std::string writer;
  std::string epoch;
};

// Magic and header frame. `writer` and `epoch` have at most 65535 bytes.
std::string EncodeHeader(const SegmentHeader& header);

// Appends the frame of one record. `chain_hash` has 32 bytes, `record` fits kMaxPayload with the rest of the payload.
void AppendRecordFrame(std::string& out, int64_t sequence, std::string_view chain_hash, std::string_view record);
// What a frame adds to the record's own bytes.
inline constexpr size_t kRecordFrameOverhead = 8 + 1 + 8 + audit::kDigestBytes;

// Views into the bytes that were read.
struct RecordFrame {
  int64_t sequence = 0;
  std::string_view chain_hash;
  std::string_view record;
};

enum class Read {
  kWhole,    // a frame, whose CRC holds
  kEnd,      // nothing is left
  kPartial,  // the bytes end within a frame
  kDamaged,  // the bytes that follow are no frame
};

// Walks over a segment. Views are valid as long as `bytes`.
class SegmentReader {
 public:
  // From the start of the file: ReadHeader comes first.
  explicit SegmentReader(std::string_view bytes) : bytes_(bytes) {}

  Read ReadHeader(SegmentHeader& header);
  // kEnd, kPartial and kDamaged do not move. A frame that is not a record is kDamaged.
  Read Next(RecordFrame& record);
  // Bytes of whole frames passed so far.
  size_t offset() const { return offset_; }
  // After kPartial: length of the frame that is begun, if its length field is there, else 0.
  size_t wanted() const { return wanted_; }

 private:
  Read ReadFrame(std::string_view& payload);

  std::string_view bytes_;
  size_t offset_ = 0;
  size_t wanted_ = 0;
};

// What must be known before a segment may go: its own file, replaced atomically.
struct Ledger {
  std::string writer;
  // Everything up to here is at the control plane.
  std::string acknowledged_epoch;
  int64_t acknowledged_sequence = 0;
  // The newest record that was on the disk when the ledger was written: fewer at the next start are a cut tail.
  std::string head_epoch;
  int64_t head_sequence = 0;
};

std::string EncodeLedger(const Ledger& ledger);
// DATA_LOSS/SPOOL_DAMAGED.
absl::StatusOr<Ledger> DecodeLedger(std::string_view bytes);

}  // namespace postern::spool
