// The spool itself. Private to this folder: others see spool.h.
//
// Three parties share it. Event loops append under `mu_` and write under `io_mu_`; one thread syncs, rotates segments
// and repairs; the uploader reads what is durable and acknowledges. Locks are taken in the order ack_mu_, io_mu_, mu_,
// and no input or output happens under mu_.
#pragma once

#include <deque>
#include <map>
#include <thread>

#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "common/audit/chain.h"
#include "sidecar/spool/recovery.h"
#include "sidecar/spool/spool.h"

namespace postern::spool {

class SpoolImpl final : public Spool {
 public:
  SpoolImpl(const Options& options, FileSystem& files, const Clock& clock, Random& random);
  ~SpoolImpl() override;

  // Second half of construction. On an error the object must not be used.
  absl::Status Start();

  absl::StatusOr<Ticket> Append(const v1::AuditRecord& record, Durability durability) override;
  absl::StatusOr<Ticket> AppendSerialized(v1::AuditKind kind, std::string_view record, Durability durability) override;
  absl::Status Flush() override;
  void WhenDurable(Ticket ticket, std::function<void(absl::Status)> done) override;
  absl::Status Sync() override;
  absl::StatusOr<std::vector<v1::ChainedRecord>> Read(const Position& after, int64_t max_bytes) override;
  absl::Status Acknowledge(const Position& upto) override;
  Position acknowledged() const override;
  void SetListener(std::function<void()> listener) override;
  Stats stats() const override;

 private:
  // Frames of consecutive records, and where they end.
  struct Batch {
    std::string frames;
    int64_t last_sequence = 0;
    std::string last_hash;
  };
  using Waiters = std::multimap<int64_t, std::function<void(absl::Status)>>;

  // Where Read() goes on cheaply: the frame of `sequence` begins at `offset` of the segment `number`.
  struct Cursor {
    int64_t number = 0;
    int64_t sequence = 0;
    int64_t offset = 0;
  };
  // What Read() needs to know of one segment, so that it can read without a lock.
  struct Source {
    std::shared_ptr<File> file;
    std::string path;
    SegmentHeader header;
    int64_t first = 0;
    int64_t last = 0;
    // Offset of `first` or of something before it.
    int64_t offset = 0;
  };

  absl::Status Admit(v1::AuditKind kind, size_t bytes) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // The parts of one record.
  absl::StatusOr<Ticket> AppendParts(v1::AuditKind kind, absl::Span<const std::string_view> parts,
                                     Durability durability);

  // Writes what is pending.
  absl::Status WriteOut() ABSL_EXCLUSIVE_LOCKS_REQUIRED(io_mu_);

  void Run();
  void SyncOnce() ABSL_LOCKS_EXCLUDED(io_mu_, mu_);
  void Rotate() ABSL_LOCKS_EXCLUDED(io_mu_, mu_);
  // Puts what the disk lost, or never took, into a new segment.
  void TryAgain() ABSL_LOCKS_EXCLUDED(io_mu_, mu_);
  void Abandon() ABSL_EXCLUSIVE_LOCKS_REQUIRED(io_mu_);
  absl::Status WriteAnew(Segment& segment) ABSL_EXCLUSIVE_LOCKS_REQUIRED(io_mu_);
  // A segment file with its header, not yet synced. `last` is what comes before it.
  absl::StatusOr<Segment> CreateSegment(int64_t number, int64_t last_sequence, const std::string& last_hash);
  // From here on gates are refused, until TryAgain() succeeds. Those who wait learn it.
  void Fail(const absl::Status& cause);
  void Tell(Waiters waiters, const absl::Status& status);
  void TellListener();

  absl::StatusOr<Source> Find(const Position& after) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Source SourceOf(const Segment& segment, int64_t first) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t ReadableEnd(const Segment& segment) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Ledger LedgerNow() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  int64_t Used() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  const Options options_;
  FileSystem& files_;
  const Clock& clock_;
  Random& random_;
  // Set by Start(), then constant.
  std::unique_ptr<File> lock_;
  std::string epoch_;

  absl::Mutex ack_mu_ ABSL_ACQUIRED_BEFORE(io_mu_);
  absl::Mutex io_mu_ ABSL_ACQUIRED_BEFORE(mu_);
  std::shared_ptr<File> active_ ABSL_GUARDED_BY(io_mu_);
  int64_t next_number_ ABSL_GUARDED_BY(io_mu_) = 1;

  mutable absl::Mutex mu_;
  absl::CondVar work_;
  audit::Chain chain_ ABSL_GUARDED_BY(mu_);
  Batch pending_ ABSL_GUARDED_BY(mu_);
  // Written, or meant to be, and not known to be on the disk: a failed sync makes it the only copy. Changed under
  // io_mu_ and mu_.
  std::deque<Batch> retained_;
  int64_t retained_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  // The last is the one written to.
  std::deque<Segment> segments_ ABSL_GUARDED_BY(mu_);
  int64_t segment_bytes_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t written_ ABSL_GUARDED_BY(mu_) = 0;
  std::string written_hash_ ABSL_GUARDED_BY(mu_);
  int64_t durable_ ABSL_GUARDED_BY(mu_) = 0;
  std::string durable_hash_ ABSL_GUARDED_BY(mu_);
  Position acknowledged_ ABSL_GUARDED_BY(mu_);
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  Waiters waiters_ ABSL_GUARDED_BY(mu_);
  Cursor cursor_ ABSL_GUARDED_BY(mu_);
  bool sync_wanted_ ABSL_GUARDED_BY(mu_) = false;
  bool idle_ ABSL_GUARDED_BY(mu_) = false;
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  int64_t syncs_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t failures_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t refused_ ABSL_GUARDED_BY(mu_) = 0;

  absl::Mutex listener_mu_;
  std::function<void()> listener_ ABSL_GUARDED_BY(listener_mu_);

  std::thread thread_;
};

}  // namespace postern::spool
