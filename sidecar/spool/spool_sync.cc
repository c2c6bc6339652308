// The spool's thread: group commit, rotation, and repair after a failure.
#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "sidecar/spool/spool_impl.h"

namespace postern::spool {
namespace {

// What callers learn: the file system's own words, under one of our two reasons.
absl::Status Describe(const absl::Status& cause) {
  const std::string text = fmt::format("the audit spool cannot be written: {}", std::string(cause.message()));
  if (cause.code() == absl::StatusCode::kResourceExhausted) {
    return Error(absl::StatusCode::kResourceExhausted, "SPOOL_FULL", text,
                 "Free space on the sidecar's spool disk. Statements go on by themselves then.");
  }
  return Error(absl::StatusCode::kUnavailable, "SPOOL_FAILED", text,
               "Check the sidecar's spool disk. Statements go on by themselves when it can be written again.");
}

}  // namespace

SpoolImpl::~SpoolImpl() {
  if (!thread_.joinable()) return;
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
    work_.Signal();
  }
  thread_.join();
  SyncOnce();
  Waiters left;
  Ledger ledger;
  {
    absl::MutexLock lock(&mu_);
    left = std::exchange(waiters_, {});
    ledger = LedgerNow();
  }
  Tell(std::move(left), Error(absl::StatusCode::kUnavailable, "SPOOL_FAILED", "the audit spool is being closed"));
  // If this fails, the next start only cannot tell whether the end was cut.
  WriteLedger(files_, options_.directory, ledger).IgnoreError();
}

void SpoolImpl::Run() {
  for (;;) {
    bool failing = false;
    {
      absl::MutexLock lock(&mu_);
      failing = !failure_.ok();
      bool timed_out = false;
      if (failing) {
        // Nobody signals while it fails, except to stop.
        while (!stop_ && !timed_out) timed_out = work_.WaitWithTimeout(&mu_, options_.retry_interval);
      } else {
        while (!stop_ && !sync_wanted_ && chain_.sequence() == durable_) {
          idle_ = true;
          work_.Wait(&mu_);
        }
        idle_ = false;
        while (!stop_ && !sync_wanted_ && failure_.ok() && !timed_out) {
          timed_out = work_.WaitWithTimeout(&mu_, options_.sync_interval);
        }
        failing = !failure_.ok();
      }
      if (stop_) return;
    }
    if (failing) {
      TryAgain();
    } else {
      SyncOnce();
    }
  }
}

void SpoolImpl::SyncOnce() {
  struct Dirty {
    std::shared_ptr<File> file;
    int64_t number;
    int64_t bytes;
  };
  std::vector<Dirty> dirty;
  int64_t upto = 0;
  std::string upto_hash;
  {
    absl::MutexLock io(&io_mu_);
    if (!WriteOut().ok()) return;
    absl::MutexLock lock(&mu_);
    sync_wanted_ = false;
    upto = written_;
    upto_hash = written_hash_;
    for (const Segment& segment : segments_) {
      if (segment.bytes > segment.durable_bytes) dirty.push_back({segment.file, segment.header.number, segment.bytes});
    }
  }
  // Without io_mu_: event loops write on while the disk works.
  for (const Dirty& each : dirty) {
    if (const absl::Status synced = each.file->SyncData(); !synced.ok()) return Fail(synced);
  }
  bool rotate = false;
  Waiters done;
  std::deque<Batch> dropped;  // freed outside the lock
  {
    absl::MutexLock io(&io_mu_);
    absl::MutexLock lock(&mu_);
    // A write failed meanwhile: what was synced is durable all the same.
    for (const Dirty& each : dirty) {
      for (Segment& segment : segments_) {
        if (segment.header.number == each.number) segment.durable_bytes = each.bytes;
      }
    }
    durable_ = upto;
    durable_hash_ = upto_hash;
    ++syncs_;
    while (!retained_.empty() && retained_.front().last_sequence <= upto) {
      retained_bytes_ -= static_cast<int64_t>(retained_.front().frames.size());
      dropped.push_back(std::move(retained_.front()));
      retained_.pop_front();
    }
    const auto end = waiters_.upper_bound(upto);
    for (auto it = waiters_.begin(); it != end; it = waiters_.begin()) done.insert(waiters_.extract(it));
    rotate = failure_.ok() && segments_.back().bytes >= options_.segment_bytes;
  }
  Tell(std::move(done), absl::OkStatus());
  if (!dropped.empty()) TellListener();
  if (rotate) Rotate();
}

absl::StatusOr<Segment> SpoolImpl::CreateSegment(int64_t number, int64_t last_sequence, const std::string& last_hash) {
  Segment segment;
  segment.header = SegmentHeader{.number = number,
                                 .first_sequence = last_sequence + 1,
                                 .previous_hash = *audit::ToDigest(last_hash),
                                 .writer = options_.writer,
                                 .epoch = epoch_};
  segment.path = SegmentPath(options_.directory, number);
  segment.last_sequence = last_sequence;
  POSTERN_ASSIGN_OR_RETURN(segment.file, files_.Create(segment.path));
  const std::string header = EncodeHeader(segment.header);
  if (absl::Status written = segment.file->Append(header); !written.ok()) {
    files_.Unlink(segment.path).IgnoreError();
    return written;
  }
  segment.bytes = static_cast<int64_t>(header.size());
  return segment;
}

void SpoolImpl::Rotate() {
  absl::Status failed;
  Ledger ledger;
  {
    absl::MutexLock io(&io_mu_);
    if (!WriteOut().ok()) return;
    int64_t last = 0;
    std::string hash;
    {
      absl::MutexLock lock(&mu_);
      last = written_;
      hash = written_hash_;
      ledger = LedgerNow();
    }
    auto segment = CreateSegment(next_number_++, last, hash);
    failed = segment.status();
    if (failed.ok()) {
      active_ = segment->file;
      absl::MutexLock lock(&mu_);
      segment_bytes_ += segment->bytes;
      segments_.push_back(*std::move(segment));
    }
  }
  // The name must be on the disk before a record in the file may count as durable; the next sync is this thread's.
  if (failed.ok()) failed = files_.SyncDirectory(options_.directory);
  if (!failed.ok()) return Fail(failed);
  // Only tells a cut tail at the next start; its next version will do as well.
  WriteLedger(files_, options_.directory, ledger).IgnoreError();
}

void SpoolImpl::Fail(const absl::Status& cause) {
  Waiters told;
  absl::Status status;
  {
    absl::MutexLock lock(&mu_);
    ++failures_;
    failure_ = status = Describe(cause);
    told = std::exchange(waiters_, {});
    work_.Signal();
  }
  Tell(std::move(told), status);
}

// Nothing after the last good sync is believed any more. What cannot be removed now is superseded by the next segment.
void SpoolImpl::Abandon() {
  std::vector<std::string> unlink;
  std::shared_ptr<File> cut;
  int64_t length = 0;
  {
    absl::MutexLock lock(&mu_);
    while (!segments_.empty() && segments_.back().header.epoch == epoch_ &&
           segments_.back().header.first_sequence > durable_) {
      unlink.push_back(segments_.back().path);
      segment_bytes_ -= segments_.back().bytes;
      segments_.pop_back();
    }
    if (!segments_.empty() && segments_.back().header.epoch == epoch_) {
      Segment& last = segments_.back();
      cut = last.file;
      length = last.durable_bytes;
      segment_bytes_ -= last.bytes - last.durable_bytes;
      last.bytes = last.durable_bytes;
      last.last_sequence = durable_;
    }
    written_ = durable_;
    written_hash_ = durable_hash_;
  }
  active_ = nullptr;
  for (const std::string& path : unlink) files_.Unlink(path).IgnoreError();
  if (cut != nullptr) cut->Truncate(length).IgnoreError();
}

absl::Status SpoolImpl::WriteAnew(Segment& segment) {
  for (const Batch& batch : retained_) {
    POSTERN_RETURN_IF_ERROR(segment.file->Append(batch.frames));
    segment.bytes += static_cast<int64_t>(batch.frames.size());
    segment.last_sequence = batch.last_sequence;
  }
  POSTERN_RETURN_IF_ERROR(segment.file->SyncData());
  segment.durable_bytes = segment.bytes;
  return files_.SyncDirectory(options_.directory);
}

void SpoolImpl::TryAgain() {
  absl::Status failed;
  {
    absl::MutexLock io(&io_mu_);
    Abandon();
    int64_t durable = 0;
    std::string hash;
    {
      absl::MutexLock lock(&mu_);
      if (!pending_.frames.empty()) {
        retained_bytes_ += static_cast<int64_t>(pending_.frames.size());
        retained_.push_back(std::exchange(pending_, Batch{}));
      }
      durable = durable_;
      hash = durable_hash_;
    }
    auto segment = CreateSegment(next_number_++, durable, hash);
    failed = segment.status();
    if (failed.ok()) {
      failed = WriteAnew(*segment);
      if (!failed.ok()) files_.Unlink(segment->path).IgnoreError();
    }
    if (failed.ok()) {
      active_ = segment->file;
      absl::MutexLock lock(&mu_);
      written_ = durable_ = segment->last_sequence;
      if (!retained_.empty()) written_hash_ = durable_hash_ = retained_.back().last_hash;
      retained_.clear();
      retained_bytes_ = 0;
      segment_bytes_ += segment->bytes;
      segments_.push_back(*std::move(segment));
      ++syncs_;
      failure_ = absl::OkStatus();
      // Records may have come since `pending_` was taken.
      sync_wanted_ = true;
    }
  }
  if (!failed.ok()) return Fail(failed);
  TellListener();
}

void SpoolImpl::Tell(Waiters waiters, const absl::Status& status) {
  for (auto& [sequence, done] : waiters) done(status);
}

void SpoolImpl::TellListener() {
  absl::MutexLock lock(&listener_mu_);
  if (listener_) listener_();
}

}  // namespace postern::spool
