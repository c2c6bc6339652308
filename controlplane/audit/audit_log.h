// The central audit log: takes the chains of all writers, puts each record into one Merkle tree, signs the tree's head.
// docs/formats/audit-log.md.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/crypto/ec_key.h"
#include "controlplane/audit/audit_reader.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/audit/audit_store.h"

namespace postern::audit {

// The writer id of the control plane's own chain.
inline constexpr std::string_view kControlPlaneWriter = "controlplane";

// What came of an upload.
struct IngestResult {
  // Of `epoch`, everything up to this sequence is committed, whether by this call or before. Says so also beside an
  // error, for the records before the one that was refused. Empty if nothing was taken.
  std::string epoch;
  int64_t committed_sequence = 0;
  // OK: all of them are committed. Otherwise the first that was not:
  //   INVALID_ARGUMENT/AUDIT_WRONG_WRITER: it is not by the writer that sends it. INVALID_ARGUMENT/RECORD_MALFORMED.
  //   DATA_LOSS/CHAIN_GAP, CHAIN_MISMATCH: it does not follow the writer's chain, or contradicts what is there.
  //   UNAVAILABLE/STORE_UNAVAILABLE: nothing was taken; send it again.
  // All but the last leave an ALARM in the log, once.
  absl::Status status;
};

// Thread-safe.
class AuditLog final : public AuditSink, public AuditReader {
 public:
  struct Options {
    // Name of the log in its checkpoints.
    std::string origin;
    // How far apart checkpoints are while the log grows.
    absl::Duration checkpoint_interval = absl::Seconds(1);
  };

  // `key` signs checkpoints; its public half is kept in the store for ever. The rest is not owned and outlives the log.
  static absl::StatusOr<std::unique_ptr<AuditLog>> Open(const Options& options, AuditStore& store,
                                                        const crypto::EcPrivateKey& key, const Clock& clock,
                                                        Random& random);
  ~AuditLog() override;

  absl::Status Record(v1::AuditRecord record) override;

  // Takes `records`, in order, all of `writer`, who has proved its identity. What is there already is passed over; a
  // record that does not follow ends it.
  IngestResult Ingest(std::string_view writer, const std::vector<v1::ChainedRecord>& records);

  // A checkpoint over everything that is committed, signed now unless the latest is.
  absl::StatusOr<v1::Checkpoint> CheckpointNow();

  absl::StatusOr<v1::QueryAuditResponse> Query(const v1::QueryAuditRequest& request) const override;
  absl::StatusOr<Batch> Scan(const v1::AuditFilter& filter, int64_t from_leaf, int64_t end_leaf,
                             int limit) const override;
  int64_t size() const override;
  std::unique_ptr<Subscription> Subscribe(std::function<void()> grown) override;
  v1::Checkpoint checkpoint() const override;
  absl::StatusOr<std::vector<v1::AuditKey>> Keys() const override;
  absl::Status Export(int64_t from_leaf, const std::function<bool(const v1::ExportAuditResponse&)>& sink) override;

 private:
  class Writing;
  class Subscriber;
  using AlarmKey = std::tuple<std::string, std::string, int64_t, std::string>;

  AuditLog(const Options& options, AuditStore& store, const crypto::EcPrivateKey& key, const Clock& clock,
           Random& random);
  absl::Status Load();
  absl::Status Commit(const std::function<absl::Status(Writing&)>& change);
  absl::Status Take(Writing& writing, std::string_view writer, const v1::ChainedRecord& record);
  bool FirstAlarm(const AlarmKey& key);
  void SignWhileRunning();
  absl::StatusOr<std::vector<std::string>> Earlier(int64_t from_leaf) const;

  const Options options_;
  AuditStore& store_;
  const crypto::EcPrivateKey key_;
  const Clock& clock_;
  Random& random_;
  // Of the control plane's own chain. Set by Load().
  std::string epoch_;

  absl::Mutex signing_mu_ ABSL_ACQUIRED_BEFORE(mu_);

  mutable absl::Mutex mu_;
  int64_t size_ ABSL_GUARDED_BY(mu_) = 0;
  v1::Checkpoint checkpoint_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  // Alarms that were raised, so that a sidecar that tries again and again does not fill the log.
  std::set<AlarmKey> alarms_ ABSL_GUARDED_BY(mu_);

  absl::Mutex subscribers_mu_;
  std::set<Subscriber*> subscribers_ ABSL_GUARDED_BY(subscribers_mu_);

  std::thread signer_;
};

}  // namespace postern::audit
