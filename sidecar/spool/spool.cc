// Opening, appending and flushing: what event loops call.
#include "sidecar/spool/spool.h"

#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/synchronization/notification.h"
#include "common/audit/parts.h"
#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "google/protobuf/util/time_util.h"
#include "sidecar/spool/spool_impl.h"

namespace postern::spool {
namespace {

constexpr size_t kMaxName = 128;
// Bytes that Append() lets gather before it writes them itself.
constexpr size_t kFlushAt = 1 << 20;

// Whether the record announces something that can still be prevented. A refused session counts among these although it
// is over: strangers can make any number of them, and must not be able to use up what is kept back for facts.
bool IsGate(v1::AuditKind kind) {
  return kind == v1::SESSION_START || kind == v1::SESSION_REFUSED || kind == v1::STATEMENT_INTENT;
}

absl::Status CheckOptions(const Options& options) {
  const auto invalid = [](std::string_view message) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_ARGUMENT", message);
  };
  if (options.writer.empty() || options.writer.size() > kMaxName) return invalid("a spool's writer has 1 to 128 bytes");
  if (options.segment_bytes < 4096) return invalid("a spool's segments have at least 4096 bytes");
  if (options.max_bytes < 4 * options.segment_bytes) return invalid("a spool holds at least 4 segments");
  if (options.reserve_bytes < 65536) return invalid("a spool's reserve is at least 65536 bytes");
  if (options.max_record_bytes < 16384 || options.max_record_bytes > kMaxPayload / 2) {
    return invalid("a spool's records are split at 16384 bytes to 8 MiB");
  }
  return absl::OkStatus();
}

v1::AuditRecord Alarm(const Wound& wound) {
  v1::AuditRecord alarm;
  alarm.set_kind(v1::ALARM);
  alarm.set_action("SPOOL_DAMAGED");
  alarm.set_object(wound.epoch);
  alarm.set_reason(wound.cause);
  auto& detail = *alarm.mutable_detail();
  detail["epoch"] = wound.epoch;
  detail["last_sequence"] = std::to_string(wound.last_sequence);
  std::string hash;
  for (const char byte : wound.last_hash) hash += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  detail["last_chain_hash"] = hash;
  detail["bytes_set_aside"] = std::to_string(wound.bytes);
  detail["kept_in"] = fmt::format("{}", fmt::join(wound.kept_in, " "));
  return alarm;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Spool>> Spool::Open(const Options& options, FileSystem& files, const Clock& clock,
                                                   Random& random) {
  POSTERN_RETURN_IF_ERROR(CheckOptions(options));
  auto spool = std::make_unique<SpoolImpl>(options, files, clock, random);
  POSTERN_RETURN_IF_ERROR(spool->Start());
  return spool;
}

SpoolImpl::SpoolImpl(const Options& options, FileSystem& files, const Clock& clock, Random& random)
    : options_(options), files_(files), clock_(clock), random_(random), chain_("", "") {}

absl::Status SpoolImpl::Start() {
  POSTERN_RETURN_IF_ERROR(files_.MakeDirectory(options_.directory));
  auto lock = files_.Lock(fmt::format("{}/{}", options_.directory, kLockName));
  if (lock.status().code() == absl::StatusCode::kFailedPrecondition) {
    return Error(absl::StatusCode::kFailedPrecondition, "SPOOL_IN_USE",
                 fmt::format("another process uses the spool in {}", options_.directory),
                 "Stop the other sidecar, or give this one a spool directory of its own.");
  }
  POSTERN_RETURN_IF_ERROR(lock.status());
  lock_ = *std::move(lock);
  POSTERN_ASSIGN_OR_RETURN(Recovered found, Recover(files_, options_.directory, options_.writer));
  {
    absl::MutexLock io(&io_mu_);
    absl::MutexLock state(&mu_);
    epoch_ = found.epoch.empty() ? NewId("spe_", clock_.Now(), random_) : found.epoch;
    if (found.last_hash.empty()) found.last_hash.assign(audit::kDigestBytes, '\0');
    chain_ = audit::Chain(options_.writer, epoch_, found.last_sequence, found.last_hash);
    written_ = durable_ = found.last_sequence;
    written_hash_ = durable_hash_ = found.last_hash;
    next_number_ = found.next_number;
    for (Segment& segment : found.segments) {
      segment_bytes_ += segment.bytes;
      segments_.push_back(std::move(segment));
    }
    acknowledged_ = Position{epoch_, 0};
    if (!segments_.empty()) {
      const SegmentHeader& oldest = segments_.front().header;
      acknowledged_ = Position{oldest.epoch, oldest.first_sequence - 1};
    }
    if (found.ledger && !found.ledger->acknowledged_epoch.empty()) {
      acknowledged_ = Position{found.ledger->acknowledged_epoch, found.ledger->acknowledged_sequence};
    }
    POSTERN_ASSIGN_OR_RETURN(Segment segment, CreateSegment(next_number_++, durable_, durable_hash_));
    POSTERN_RETURN_IF_ERROR(segment.file->SyncData());
    segment.durable_bytes = segment.bytes;
    POSTERN_RETURN_IF_ERROR(files_.SyncDirectory(options_.directory));
    POSTERN_RETURN_IF_ERROR(WriteLedger(files_, options_.directory, LedgerNow()));
    active_ = segment.file;
    segment_bytes_ += segment.bytes;
    segments_.push_back(std::move(segment));
  }
  thread_ = std::thread([this] { Run(); });
  if (!found.wound) return absl::OkStatus();
  POSTERN_RETURN_IF_ERROR(Append(Alarm(*found.wound), Durability::kStrict).status());
  return Sync();
}

absl::StatusOr<Ticket> SpoolImpl::Append(const v1::AuditRecord& record, Durability durability) {
  if (!record.has_time()) {
    v1::AuditRecord timed = record;
    *timed.mutable_time() = google::protobuf::util::TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(clock_.Now()));
    return Append(timed, durability);
  }
  if (record.ByteSizeLong() <= options_.max_record_bytes) {
    return AppendSerialized(record.kind(), audit::SerializeRecord(record), durability);
  }
  const std::string id = NewId("rec_", clock_.Now(), random_);
  std::vector<std::string> serialized;
  for (const v1::AuditRecord& part : audit::SplitRecord(record, id, options_.max_record_bytes)) {
    serialized.push_back(audit::SerializeRecord(part));
  }
  const std::vector<std::string_view> parts(serialized.begin(), serialized.end());
  return AppendParts(record.kind(), parts, durability);
}

absl::StatusOr<Ticket> SpoolImpl::AppendSerialized(v1::AuditKind kind, std::string_view record, Durability durability) {
  if (record.size() <= options_.max_record_bytes) return AppendParts(kind, {&record, 1}, durability);
  v1::AuditRecord whole;
  if (!whole.ParseFromArray(record.data(), static_cast<int>(record.size()))) {
    return Error(absl::StatusCode::kInternal, "SPOOL_FAILED", "an audit record does not read as one");
  }
  return Append(whole, durability);
}

absl::StatusOr<Ticket> SpoolImpl::AppendParts(v1::AuditKind kind, absl::Span<const std::string_view> parts,
                                              Durability durability) {
  size_t bytes = 0;
  // Hashed outside the lock, for that is most of the work.
  absl::InlinedVector<audit::Digest, 1> digests;
  for (const std::string_view part : parts) {
    bytes += part.size() + kRecordFrameOverhead;
    digests.push_back(audit::Sha256({part}));
  }

  Ticket ticket;
  bool write_now = false;
  {
    absl::MutexLock lock(&mu_);
    POSTERN_RETURN_IF_ERROR(Admit(kind, bytes));
    for (size_t i = 0; i < parts.size(); ++i) {
      const std::string& hash = chain_.Advance(digests[i]);
      AppendRecordFrame(pending_.frames, chain_.sequence(), hash, parts[i]);
    }
    pending_.last_sequence = ticket.sequence = chain_.sequence();
    pending_.last_hash = chain_.hash();
    write_now = pending_.frames.size() > kFlushAt && failure_.ok();
    if (durability == Durability::kStrict) sync_wanted_ = true;
    if (retained_bytes_ + static_cast<int64_t>(pending_.frames.size()) > options_.reserve_bytes / 2) {
      sync_wanted_ = true;
    }
    if ((sync_wanted_ || idle_) && failure_.ok()) work_.Signal();
  }
  // A failure shows in the caller's own Flush().
  if (write_now) Flush().IgnoreError();
  return ticket;
}

int64_t SpoolImpl::Used() const { return segment_bytes_ + static_cast<int64_t>(pending_.frames.size()); }

absl::Status SpoolImpl::Admit(v1::AuditKind kind, size_t bytes) {
  const auto more = static_cast<int64_t>(bytes);
  const int64_t in_memory = retained_bytes_ + static_cast<int64_t>(pending_.frames.size()) + more;
  const bool gate = IsGate(kind);
  absl::Status refusal;
  if (gate && !failure_.ok()) {
    refusal = failure_;
  } else if (Used() + more > options_.max_bytes + (gate ? 0 : options_.reserve_bytes)) {
    refusal = Error(absl::StatusCode::kResourceExhausted, "SPOOL_FULL",
                    fmt::format("the audit spool holds {} bytes that the control plane has not acknowledged", Used()),
                    "Check the sidecar's connection to the control plane, or enlarge the spool.");
  } else if (in_memory > (gate ? options_.reserve_bytes : 2 * options_.reserve_bytes)) {
    refusal = Error(absl::StatusCode::kResourceExhausted, "SPOOL_FULL",
                    fmt::format("{} bytes of audit records wait for the spool's disk", in_memory - more),
                    "The disk is too slow or has failed; see the sidecar's log.");
  }
  if (!refusal.ok()) ++refused_;
  return refusal;
}

absl::Status SpoolImpl::Flush() {
  {
    // While the disk fails, the thread that repairs holds io_mu_ for as long as the disk takes: do not queue for it.
    absl::MutexLock lock(&mu_);
    if (!failure_.ok()) return failure_;
    if (pending_.frames.empty() && written_ == chain_.sequence()) return absl::OkStatus();
  }
  absl::MutexLock io(&io_mu_);
  return WriteOut();
}

absl::Status SpoolImpl::WriteOut() {
  Batch batch;
  {
    absl::MutexLock lock(&mu_);
    if (!failure_.ok()) return failure_;
    if (pending_.frames.empty()) return absl::OkStatus();
    batch = std::exchange(pending_, Batch{});
    pending_.frames.reserve(std::min(batch.frames.size(), kFlushAt));
    retained_bytes_ += static_cast<int64_t>(batch.frames.size());
  }
  const absl::Status written = active_->Append(batch.frames);
  const int64_t last = batch.last_sequence;
  {
    absl::MutexLock lock(&mu_);
    const auto size = static_cast<int64_t>(batch.frames.size());
    const std::string hash = batch.last_hash;
    retained_.push_back(std::move(batch));
    if (written.ok()) {
      segments_.back().last_sequence = last;
      segments_.back().bytes += size;
      segment_bytes_ += size;
      written_ = last;
      written_hash_ = hash;
      return absl::OkStatus();
    }
  }
  Fail(written);
  absl::MutexLock lock(&mu_);
  return failure_;
}

void SpoolImpl::WhenDurable(Ticket ticket, std::function<void(absl::Status)> done) {
  absl::Status known;
  {
    absl::MutexLock lock(&mu_);
    if (ticket.sequence > durable_) {
      if (failure_.ok()) {
        waiters_.emplace(ticket.sequence, std::move(done));
        sync_wanted_ = true;
        work_.Signal();
        return;
      }
      known = failure_;
    }
  }
  done(known);
}

absl::Status SpoolImpl::Sync() {
  Ticket newest;
  {
    absl::MutexLock lock(&mu_);
    newest.sequence = chain_.sequence();
  }
  absl::Status result;
  absl::Notification done;
  WhenDurable(newest, [&](absl::Status status) {
    result = std::move(status);
    done.Notify();
  });
  done.WaitForNotification();
  return result;
}

Position SpoolImpl::acknowledged() const {
  absl::MutexLock lock(&mu_);
  return acknowledged_;
}

void SpoolImpl::SetListener(std::function<void()> listener) {
  absl::MutexLock lock(&listener_mu_);
  listener_ = std::move(listener);
}

Stats SpoolImpl::stats() const {
  absl::MutexLock lock(&mu_);
  Stats stats;
  stats.appended = chain_.sequence();
  stats.written = written_;
  stats.durable = durable_;
  stats.acknowledged = acknowledged_.epoch == epoch_ ? acknowledged_.sequence : 0;
  stats.bytes = Used();
  stats.syncs = syncs_;
  stats.failures = failures_;
  stats.refused = refused_;
  stats.health = failure_;
  return stats;
}

}  // namespace postern::spool
