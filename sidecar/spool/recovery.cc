#include "sidecar/spool/recovery.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/audit/chain.h"
#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"

namespace postern::spool {
namespace {

constexpr std::string_view kSegmentSuffix = ".spool";
constexpr std::string_view kDamagedSuffix = ".damaged";
constexpr size_t kNumberDigits = 16;

// The number in a segment's file name; 0 for other files. Files set aside keep their number: it is not used again.
int64_t NumberIn(const std::string& name) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + std::min(name.size(), kNumberDigits), number);
  return error == std::errc() && end == name.data() + kNumberDigits && number > 0 ? number : 0;
}

// A file as found, before anything is believed.
struct Found {
  int64_t number = 0;
  Segment segment;
  std::string bytes;
  Read header_read = Read::kDamaged;
  // Records after this one are superseded by a later segment.
  int64_t limit = INT64_MAX;
};

class Recovery {
 public:
  Recovery(FileSystem& files, const std::string& directory, const std::string& writer)
      : files_(files), directory_(directory), writer_(writer) {}

  absl::StatusOr<Recovered> Run();

 private:
  absl::Status ReadLedger(const std::vector<std::string>& names);
  absl::Status Load(const std::vector<std::string>& names);
  absl::Status Supersede();
  // Follows `found`'s records. Sets `cause` if they are damaged, with segment.bytes where the whole ones end.
  void Check(Found& found, std::string& cause);
  bool Connects(const Found& found, std::string& cause) const;
  void CheckHead(std::string& cause) const;
  absl::Status SetAside(size_t first, std::string cause);
  absl::Status KeepCopy(const Found& found);

  FileSystem& files_;
  const std::string& directory_;
  const std::string& writer_;
  std::vector<Found> found_;
  Recovered result_;
};

std::string DamagedPath(const Found& found) {
  const std::string stem = found.segment.path.substr(0, found.segment.path.size() - kSegmentSuffix.size());
  return fmt::format("{}-{}{}", stem, found.segment.bytes, kDamagedSuffix);
}

absl::StatusOr<Recovered> Recovery::Run() {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<std::string> names, files_.List(directory_));
  for (const std::string& name : names) result_.next_number = std::max(result_.next_number, NumberIn(name) + 1);
  POSTERN_RETURN_IF_ERROR(ReadLedger(names));
  POSTERN_RETURN_IF_ERROR(Load(names));
  POSTERN_RETURN_IF_ERROR(Supersede());

  std::string cause;
  size_t i = 0;
  for (; i < found_.size(); ++i) {
    Found& found = found_[i];
    if (!Connects(found, cause)) break;
    Check(found, cause);
    if (!cause.empty()) break;
    result_.segments.push_back(found.segment);
    found.bytes = {};
  }
  if (cause.empty()) CheckHead(cause);
  if (!cause.empty()) POSTERN_RETURN_IF_ERROR(SetAside(i, std::move(cause)));
  // What the last process left to the kernel is on the disk from here on.
  for (Segment& segment : result_.segments) {
    POSTERN_RETURN_IF_ERROR(segment.file->SyncData());
    segment.durable_bytes = segment.bytes;
  }
  return std::move(result_);
}

absl::Status Recovery::ReadLedger(const std::vector<std::string>& names) {
  if (std::find(names.begin(), names.end(), kLedgerName) == names.end()) return absl::OkStatus();
  POSTERN_ASSIGN_OR_RETURN(const auto file, files_.Open(fmt::format("{}/{}", directory_, kLedgerName)));
  POSTERN_ASSIGN_OR_RETURN(const int64_t size, file->Size());
  POSTERN_ASSIGN_OR_RETURN(const std::string bytes, file->ReadAt(0, std::min<int64_t>(size, 1 << 20)));
  auto ledger = DecodeLedger(bytes);
  // A damaged one only costs uploading again what the control plane has: it knows duplicates.
  if (ledger.ok()) result_.ledger = *std::move(ledger);
  if (result_.ledger && result_.ledger->writer != writer_) {
    return Error(absl::StatusCode::kFailedPrecondition, "SPOOL_OTHER_WRITER",
                 fmt::format("the spool in {} belongs to sidecar {}", directory_, result_.ledger->writer),
                 "Give this sidecar a spool directory of its own.");
  }
  return absl::OkStatus();
}

absl::Status Recovery::Load(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    if (name.size() != kNumberDigits + kSegmentSuffix.size() || !name.ends_with(kSegmentSuffix)) continue;
    if (NumberIn(name) == 0) continue;
    Found found;
    found.number = NumberIn(name);
    found.segment.path = fmt::format("{}/{}", directory_, name);
    POSTERN_ASSIGN_OR_RETURN(found.segment.file, files_.Open(found.segment.path));
    POSTERN_ASSIGN_OR_RETURN(const int64_t size, found.segment.file->Size());
    POSTERN_ASSIGN_OR_RETURN(found.bytes, found.segment.file->ReadAt(0, size));
    found.header_read = SegmentReader(found.bytes).ReadHeader(found.segment.header);
    if (found.header_read == Read::kWhole && found.segment.header.writer != writer_) {
      return Error(absl::StatusCode::kFailedPrecondition, "SPOOL_OTHER_WRITER",
                   fmt::format("{} belongs to sidecar {}", found.segment.path, found.segment.header.writer),
                   "Give this sidecar a spool directory of its own.");
    }
    found_.push_back(std::move(found));
  }
  std::sort(found_.begin(), found_.end(), [](const Found& a, const Found& b) { return a.number < b.number; });
  return absl::OkStatus();
}

// A segment that begins within an earlier one of its epoch was written after a failed sync: from its first record on it
// counts, and the earlier one does not.
absl::Status Recovery::Supersede() {
  std::vector<Found> kept;
  for (Found& found : found_) {
    const SegmentHeader& header = found.segment.header;
    while (found.header_read == Read::kWhole && !kept.empty() && kept.back().header_read == Read::kWhole &&
           kept.back().segment.header.epoch == header.epoch) {
      if (kept.back().segment.header.first_sequence < header.first_sequence) {
        kept.back().limit = std::min(kept.back().limit, header.first_sequence - 1);
        break;
      }
      POSTERN_RETURN_IF_ERROR(files_.Unlink(kept.back().segment.path));
      kept.pop_back();
    }
    kept.push_back(std::move(found));
  }
  found_ = std::move(kept);
  return absl::OkStatus();
}

bool Recovery::Connects(const Found& found, std::string& cause) const {
  const SegmentHeader& header = found.segment.header;
  if (found.header_read != Read::kWhole || header.number != found.number) {
    cause = fmt::format("{} has no whole header", found.segment.path);
    return false;
  }
  if (header.epoch != result_.epoch) {
    const bool resumes = result_.epoch.empty() && result_.ledger && result_.ledger->acknowledged_epoch == header.epoch;
    const int64_t known = resumes ? result_.ledger->acknowledged_sequence : 0;
    // The first file: what came before it was acknowledged, if the ledger can be read.
    const bool unknown_past = result_.segments.empty() && !result_.ledger;
    if (header.first_sequence <= known + 1 || unknown_past) return true;
    cause = fmt::format("{} begins with record {} of epoch {}, and record {} is not there", found.segment.path,
                        header.first_sequence, header.epoch, known + 1);
    return false;
  }
  if (header.first_sequence == result_.last_sequence + 1 && audit::View(header.previous_hash) == result_.last_hash) {
    return true;
  }
  cause = fmt::format("{} does not continue where the segment before it ends, with record {}", found.segment.path,
                      result_.last_sequence);
  return false;
}

void Recovery::Check(Found& found, std::string& cause) {
  SegmentReader reader(found.bytes);
  SegmentHeader header;
  reader.ReadHeader(header);
  audit::Chain chain(header.writer, header.epoch, header.first_sequence - 1,
                     std::string(audit::View(header.previous_hash)));
  Segment& segment = found.segment;
  segment.bytes = static_cast<int64_t>(reader.offset());
  RecordFrame frame;
  Read read = Read::kEnd;
  while (chain.sequence() < found.limit && (read = reader.Next(frame)) == Read::kWhole) {
    if (frame.sequence != chain.sequence() + 1 || chain.Advance(audit::Sha256({frame.record})) != frame.chain_hash) {
      cause = fmt::format("{} holds at offset {} a record that does not follow the one before it", segment.path,
                          segment.bytes);
      break;
    }
    segment.bytes = static_cast<int64_t>(reader.offset());
    segment.last_sequence = chain.sequence();
    result_.last_hash = chain.hash();
  }
  if (cause.empty() && read != Read::kEnd && read != Read::kWhole) {
    cause = fmt::format("{} {} at offset {}", segment.path,
                        read == Read::kPartial ? "ends within a record" : "is damaged", segment.bytes);
  }
  if (segment.last_sequence == 0) {
    segment.last_sequence = header.first_sequence - 1;
    result_.last_hash = audit::View(header.previous_hash);
  }
  result_.epoch = header.epoch;
  result_.last_sequence = segment.last_sequence;
  if (cause.empty() && segment.last_sequence < found.limit && found.limit != INT64_MAX) {
    cause = fmt::format("{} ends with record {}, and the next segment begins with record {}", segment.path,
                        segment.last_sequence, found.limit + 1);
  }
}

void Recovery::CheckHead(std::string& cause) const {
  if (!result_.ledger) return;
  const Ledger& ledger = *result_.ledger;
  if (result_.segments.empty()) {
    if (ledger.head_sequence > 0 || !ledger.head_epoch.empty()) {
      cause = fmt::format("no segment is left in {}; the ledger speaks of record {} of epoch {}", directory_,
                          ledger.head_sequence, ledger.head_epoch);
    }
    return;
  }
  for (const auto& [epoch, sequence] : {std::pair(ledger.head_epoch, ledger.head_sequence),
                                        std::pair(ledger.acknowledged_epoch, ledger.acknowledged_sequence)}) {
    if (epoch == result_.epoch && sequence > result_.last_sequence) {
      cause = fmt::format("the end of epoch {} is missing: it goes up to record {}, the ledger speaks of record {}",
                          epoch, result_.last_sequence, sequence);
    }
  }
}

absl::Status Recovery::KeepCopy(const Found& found) {
  const std::string path = DamagedPath(found);
  // There already if the last start died before it cut the segment.
  if (absl::Status gone = files_.Unlink(path); !gone.ok() && gone.code() != absl::StatusCode::kNotFound) return gone;
  POSTERN_ASSIGN_OR_RETURN(const auto copy, files_.Create(path));
  POSTERN_RETURN_IF_ERROR(copy->Append(std::string_view(found.bytes).substr(found.segment.bytes)));
  POSTERN_RETURN_IF_ERROR(copy->SyncData());
  POSTERN_RETURN_IF_ERROR(files_.SyncDirectory(directory_));
  return found.segment.file->Truncate(found.segment.bytes);
}

// The epoch ends. found_[first] is cut where its whole records end (or moved whole, if it has none), the files after it
// are moved.
absl::Status Recovery::SetAside(size_t first, std::string cause) {
  Wound wound{.epoch = result_.epoch,
              .last_sequence = result_.last_sequence,
              .last_hash = result_.last_hash,
              .cause = std::move(cause),
              .bytes = 0,
              .kept_in = {}};
  for (size_t i = first; i < found_.size(); ++i) {
    Found& found = found_[i];
    const int64_t damaged = static_cast<int64_t>(found.bytes.size()) - found.segment.bytes;
    wound.bytes += damaged;
    if (damaged > 0) wound.kept_in.push_back(DamagedPath(found));
    if (found.segment.bytes > 0) {
      if (damaged > 0) POSTERN_RETURN_IF_ERROR(KeepCopy(found));
      result_.segments.push_back(found.segment);
    } else {
      POSTERN_RETURN_IF_ERROR(files_.Rename(found.segment.path, DamagedPath(found)));
    }
  }
  POSTERN_RETURN_IF_ERROR(files_.SyncDirectory(directory_));
  if (wound.epoch.empty() && result_.ledger) {
    wound.epoch = result_.ledger->acknowledged_epoch;
    wound.last_sequence = result_.ledger->acknowledged_sequence;
  }
  result_.wound = std::move(wound);
  result_.epoch.clear();
  result_.last_sequence = 0;
  result_.last_hash.clear();
  return absl::OkStatus();
}

}  // namespace

std::string SegmentPath(const std::string& directory, int64_t number) {
  return fmt::format("{}/{:016}{}", directory, number, kSegmentSuffix);
}

absl::StatusOr<Recovered> Recover(FileSystem& files, const std::string& directory, const std::string& writer) {
  return Recovery(files, directory, writer).Run();
}

absl::Status WriteLedger(FileSystem& files, const std::string& directory, const Ledger& ledger) {
  const std::string path = fmt::format("{}/{}", directory, kLedgerName);
  const std::string next = path + ".next";
  // Left over from a crash, or absent.
  if (absl::Status gone = files.Unlink(next); !gone.ok() && gone.code() != absl::StatusCode::kNotFound) return gone;
  POSTERN_ASSIGN_OR_RETURN(const auto file, files.Create(next));
  POSTERN_RETURN_IF_ERROR(file->Append(EncodeLedger(ledger)));
  POSTERN_RETURN_IF_ERROR(file->SyncData());
  POSTERN_RETURN_IF_ERROR(files.Rename(next, path));
  return files.SyncDirectory(directory);
}

}  // namespace postern::spool
