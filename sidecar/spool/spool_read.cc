// The uploader's side: reading what is durable, and letting go of what is acknowledged.
#include <algorithm>
#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "sidecar/spool/spool_impl.h"

namespace postern::spool {
namespace {

absl::Status Unknown(const Position& position) {
  return Error(absl::StatusCode::kNotFound, "SPOOL_POSITION",
               fmt::format("record {} of epoch {} is not in the spool", position.sequence, position.epoch));
}

absl::Status Damaged(const std::string& path, int64_t offset) {
  return Error(absl::StatusCode::kDataLoss, "SPOOL_DAMAGED",
               fmt::format("{} no longer reads as it was written, at offset {}", path, offset),
               "Restart the sidecar: it will set the damaged part aside and say so in the audit log.");
}

}  // namespace

int64_t SpoolImpl::ReadableEnd(const Segment& segment) const {
  return segment.header.epoch == epoch_ ? std::min(segment.last_sequence, durable_) : segment.last_sequence;
}

SpoolImpl::Source SpoolImpl::SourceOf(const Segment& segment, int64_t first) const {
  Source source{.file = segment.file,
                .path = segment.path,
                .header = segment.header,
                .first = first,
                .last = ReadableEnd(segment),
                .offset = 0};
  if (cursor_.number == segment.header.number && cursor_.sequence == first) source.offset = cursor_.offset;
  return source;
}

absl::StatusOr<SpoolImpl::Source> SpoolImpl::Find(const Position& after) const {
  bool seen = after == acknowledged_;
  for (const Segment& segment : segments_) {
    const int64_t last = ReadableEnd(segment);
    const int64_t first = segment.header.first_sequence;
    if (segment.header.epoch != after.epoch) {
      if (seen && last >= first) return SourceOf(segment, first);
    } else if (after.sequence <= last) {
      if (after.sequence < first - 1) return Unknown(after);
      if (after.sequence < last) return SourceOf(segment, after.sequence + 1);
      seen = true;
    }
  }
  if (!seen) return Unknown(after);
  return Source{};
}

absl::StatusOr<std::vector<v1::ChainedRecord>> SpoolImpl::Read(const Position& after, int64_t max_bytes) {
  Source source;
  {
    absl::MutexLock lock(&mu_);
    POSTERN_ASSIGN_OR_RETURN(source, Find(after));
  }
  std::vector<v1::ChainedRecord> records;
  if (source.file == nullptr) return records;
  if (source.offset == 0) source.offset = static_cast<int64_t>(EncodeHeader(source.header).size());

  constexpr int64_t kChunk = 256 << 10;
  int64_t taken = 0;
  int64_t want = kChunk;
  bool full = false;
  while (!full && source.first <= source.last) {
    POSTERN_ASSIGN_OR_RETURN(const std::string bytes, source.file->ReadAt(source.offset, want));
    SegmentReader reader(bytes);
    RecordFrame frame;
    enum Read read = Read::kEnd;
    int64_t next = source.offset;
    while (source.first <= source.last && (read = reader.Next(frame)) == Read::kWhole) {
      const int64_t end = source.offset + static_cast<int64_t>(reader.offset());
      if (frame.sequence >= source.first) {
        if (frame.sequence != source.first) return Damaged(source.path, next);
        const auto size = static_cast<int64_t>(frame.record.size());
        full = !records.empty() && taken + size > max_bytes;
        if (full) break;
        taken += size;
        v1::ChainedRecord& record = records.emplace_back();
        record.set_writer(options_.writer);
        record.set_epoch(source.header.epoch);
        record.set_sequence(frame.sequence);
        record.set_chain_hash(frame.chain_hash.data(), frame.chain_hash.size());
        record.set_record(frame.record.data(), frame.record.size());
        ++source.first;
      }
      next = end;
    }
    if (read == Read::kDamaged) return Damaged(source.path, next);
    if (!full && source.first <= source.last && next == source.offset) {
      // Not one whole frame: it is longer than the chunk, or the file shorter than it was.
      if (static_cast<int64_t>(bytes.size()) < want) return Damaged(source.path, next);
      want = std::max(2 * want, static_cast<int64_t>(reader.wanted()));
    } else {
      source.offset = next;
      want = kChunk;
    }
  }
  absl::MutexLock lock(&mu_);
  cursor_ = Cursor{source.header.number, source.first, source.offset};
  return records;
}

Ledger SpoolImpl::LedgerNow() const {
  return Ledger{.writer = options_.writer,
                .acknowledged_epoch = acknowledged_.epoch,
                .acknowledged_sequence = acknowledged_.sequence,
                .head_epoch = epoch_,
                .head_sequence = durable_};
}

absl::Status SpoolImpl::Acknowledge(const Position& upto) {
  absl::MutexLock acknowledging(&ack_mu_);
  // Number, path and size of the segments that may go.
  std::vector<std::pair<int64_t, std::string>> done;
  Ledger ledger;
  {
    absl::MutexLock lock(&mu_);
    if (upto.epoch == acknowledged_.epoch && upto.sequence <= acknowledged_.sequence) return absl::OkStatus();
    size_t at = 0;
    while (at < segments_.size() &&
           !(segments_[at].header.epoch == upto.epoch && upto.sequence >= segments_[at].header.first_sequence &&
             upto.sequence <= ReadableEnd(segments_[at]))) {
      ++at;
    }
    if (at == segments_.size()) return Unknown(upto);
    // Something of an earlier epoch than the one acknowledged already.
    for (size_t later = at + 1; later < segments_.size(); ++later) {
      if (segments_[later].header.epoch == acknowledged_.epoch && acknowledged_.epoch != upto.epoch) {
        return absl::OkStatus();
      }
    }
    acknowledged_ = upto;
    for (size_t i = 0; i + 1 < segments_.size(); ++i) {
      if (i < at || (i == at && upto.sequence == segments_[i].last_sequence)) {
        done.emplace_back(segments_[i].header.number, segments_[i].path);
      }
    }
    ledger = LedgerNow();
  }
  if (done.empty()) return absl::OkStatus();
  POSTERN_RETURN_IF_ERROR(WriteLedger(files_, options_.directory, ledger));
  for (const auto& [number, path] : done) POSTERN_RETURN_IF_ERROR(files_.Unlink(path));
  absl::MutexLock lock(&mu_);
  for (auto segment = segments_.begin(); segment != segments_.end();) {
    const int64_t number = segment->header.number;
    if (std::none_of(done.begin(), done.end(), [number](const auto& each) { return each.first == number; })) {
      ++segment;
      continue;
    }
    segment_bytes_ -= segment->bytes;
    segment = segments_.erase(segment);
  }
  return absl::OkStatus();
}

}  // namespace postern::spool
