#include "controlplane/audit/audit_log.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/audit/chain.h"
#include "common/audit/checkpoint.h"
#include "common/audit/parts.h"
#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "fmt/format.h"
#include "google/protobuf/util/time_util.h"

namespace postern::audit {
namespace {

using google::protobuf::util::TimeUtil;

constexpr size_t kMaxRecordBytes = 256 << 10;
constexpr size_t kMaxName = 128;
constexpr size_t kMaxRememberedAlarms = 10000;

google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  return TimeUtil::MicrosecondsToTimestamp(absl::ToUnixMicros(time));
}

// A name that may stand in formats and messages: short, printable, no separators.
bool IsName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

v1::AuditRecord Alarm(std::string_view action, const v1::ChainedRecord& about, std::string_view reason) {
  v1::AuditRecord alarm;
  alarm.set_kind(v1::ALARM);
  alarm.set_action(std::string(action));
  alarm.set_object(about.writer());
  alarm.set_reason(std::string(reason));
  (*alarm.mutable_detail())["epoch"] = about.epoch();
  (*alarm.mutable_detail())["sequence"] = std::to_string(about.sequence());
  return alarm;
}

}  // namespace

// One change of the log: follows chains, appends leaves, and saves heads and tree at the end.
class AuditLog::Writing {
 public:
  Writing(const AuditLog& log, AuditStore::Change& change, Frontier tree)
      : log_(log), change_(change), tree_(std::move(tree)), now_(ToTimestamp(log.clock_.Now())) {}

  // The writer's chain of this epoch; starts it if there is none.
  absl::StatusOr<Chain*> ChainOf(std::string_view writer, const std::string& epoch) {
    const auto name = std::pair(std::string(writer), epoch);
    if (auto it = chains_.find(name); it != chains_.end()) return &it->second.chain;
    POSTERN_ASSIGN_OR_RETURN(const std::optional<ChainHead> head, change_.Head(writer, epoch));
    Chain chain = head ? Chain(name.first, epoch, head->sequence, head->chain_hash) : Chain(name.first, epoch);
    return &chains_.emplace(name, Open{std::move(chain), tree_.size(), false}).first->second.chain;
  }

  // Whether the writer has another chain than this one.
  absl::StatusOr<std::optional<ChainHead>> OtherChain(std::string_view writer) { return change_.NewestHead(writer); }
  AuditStore::Change& change() { return change_; }

  // Appends a link that its chain (of ChainOf) has taken.
  absl::Status Append(const v1::ChainedRecord& link, const Digest& record_hash) {
    Leaf leaf;
    *leaf.logged.mutable_chained() = link;
    leaf.logged.set_leaf_index(tree_.size());
    *leaf.logged.mutable_ingest_time() = now_;
    POSTERN_ASSIGN_OR_RETURN(const std::string data, LeafData(leaf.logged));
    leaf.record_hash = record_hash;
    leaf.leaf_hash = LeafHash(data);
    // Bytes that do not parse are kept all the same: they are evidence, and refusing them would jam their writer.
    if (!leaf.parsed.ParseFromString(link.record())) leaf.parsed.Clear();
    POSTERN_RETURN_IF_ERROR(change_.Append(leaf));
    tree_.Append(leaf.leaf_hash);
    chains_.at({link.writer(), link.epoch()}).grew = true;
    return absl::OkStatus();
  }

  // Appends to the control plane's own chain.
  absl::Status AppendOwn(v1::AuditRecord record) {
    if (!record.has_time()) *record.mutable_time() = now_;
    POSTERN_ASSIGN_OR_RETURN(Chain* const chain, ChainOf(kControlPlaneWriter, log_.epoch_));
    const std::string id = NewId("rec_", log_.clock_.Now(), log_.random_);
    for (const v1::AuditRecord& part : SplitRecord(record, id, kMaxRecordBytes)) {
      const v1::ChainedRecord link = chain->Append(SerializeRecord(part));
      POSTERN_RETURN_IF_ERROR(Append(link, Sha256({link.record()})));
    }
    return absl::OkStatus();
  }

  absl::Status Finish() {
    for (const auto& [name, open] : chains_) {
      if (!open.grew) continue;
      const ChainHead head{open.chain.epoch(), open.chain.sequence(), open.chain.hash()};
      POSTERN_RETURN_IF_ERROR(change_.SetHead(name.first, head, open.first_leaf));
    }
    return change_.SetTree(tree_);
  }
  int64_t size() const { return tree_.size(); }

 private:
  struct Open {
    Chain chain;
    int64_t first_leaf;
    bool grew;
  };
  const AuditLog& log_;
  AuditStore::Change& change_;
  Frontier tree_;
  const google::protobuf::Timestamp now_;
  std::map<std::pair<std::string, std::string>, Open> chains_;
};

class AuditLog::Subscriber : public AuditReader::Subscription {
 public:
  Subscriber(AuditLog& log, std::function<void()> grown) : log_(log), grown_(std::move(grown)) {
    absl::MutexLock lock(&log_.subscribers_mu_);
    log_.subscribers_.insert(this);
  }
  ~Subscriber() override {
    absl::MutexLock lock(&log_.subscribers_mu_);
    log_.subscribers_.erase(this);
  }
  void Tell() const { grown_(); }

 private:
  AuditLog& log_;
  const std::function<void()> grown_;
};

AuditLog::AuditLog(const Options& options, AuditStore& store, const crypto::EcPrivateKey& key, const Clock& clock,
                   Random& random)
    : options_(options), store_(store), key_(key), clock_(clock), random_(random) {}

absl::StatusOr<std::unique_ptr<AuditLog>> AuditLog::Open(const Options& options, AuditStore& store,
                                                         const crypto::EcPrivateKey& key, const Clock& clock,
                                                         Random& random) {
  auto log = std::unique_ptr<AuditLog>(new AuditLog(options, store, key, clock, random));
  POSTERN_RETURN_IF_ERROR(log->Load());
  POSTERN_RETURN_IF_ERROR(log->CheckpointNow().status());
  log->signer_ = std::thread([raw = log.get()] { raw->SignWhileRunning(); });
  return log;
}

absl::Status AuditLog::Load() {
  v1::AuditKey key;
  key.set_key_id(key_.public_key().Thumbprint());
  key.set_public_key_pem(key_.public_key().ToPem());
  POSTERN_RETURN_IF_ERROR(store_.AddKey(key, clock_.Now()));
  POSTERN_RETURN_IF_ERROR(store_.Write([this](AuditStore::Change& change) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(const std::optional<ChainHead> own, change.NewestHead(kControlPlaneWriter));
    epoch_ = own ? own->epoch : NewId("cpe_", clock_.Now(), random_);
    return absl::OkStatus();
  }));
  POSTERN_ASSIGN_OR_RETURN(const Frontier tree, store_.Tree());
  POSTERN_ASSIGN_OR_RETURN(std::optional<v1::Checkpoint> latest, store_.LatestCheckpoint());
  if (latest && latest->tree_size() > tree.size()) {
    return Error(
        absl::StatusCode::kDataLoss, "AUDIT_ROLLED_BACK",
        fmt::format("the audit log has {} records, its own checkpoint covers {}", tree.size(), latest->tree_size()),
        "Restore the newest backup of the data folder; keep this one as evidence.");
  }
  absl::MutexLock lock(&mu_);
  size_ = tree.size();
  if (latest) checkpoint_ = *std::move(latest);
  return absl::OkStatus();
}

AuditLog::~AuditLog() {
  if (!signer_.joinable()) return;
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  signer_.join();
}

absl::Status AuditLog::Commit(const std::function<absl::Status(Writing&)>& change) {
  int64_t size = 0;
  POSTERN_RETURN_IF_ERROR(store_.Write([&](AuditStore::Change& stored) -> absl::Status {
    POSTERN_ASSIGN_OR_RETURN(Frontier tree, stored.Tree());
    Writing writing(*this, stored, std::move(tree));
    POSTERN_RETURN_IF_ERROR(change(writing));
    size = writing.size();
    return writing.Finish();
  }));
  {
    absl::MutexLock lock(&mu_);
    if (size <= size_) return absl::OkStatus();
    size_ = size;
  }
  absl::MutexLock lock(&subscribers_mu_);
  for (const Subscriber* subscriber : subscribers_) subscriber->Tell();
  return absl::OkStatus();
}

absl::Status AuditLog::Record(v1::AuditRecord record) {
  return Commit([&record](Writing& writing) { return writing.AppendOwn(record); });
}

absl::Status AuditLog::Take(Writing& writing, std::string_view writer, const v1::ChainedRecord& record) {
  if (record.writer() != writer || writer == kControlPlaneWriter) {
    return Error(absl::StatusCode::kInvalidArgument, "AUDIT_WRONG_WRITER",
                 fmt::format("{} sent a record of writer {}", writer, record.writer()));
  }
  if (!IsName(record.epoch()) || !IsName(record.writer()) || record.record().size() > 4 * kMaxRecordBytes ||
      record.chain_hash().size() != kDigestBytes) {
    return Error(absl::StatusCode::kInvalidArgument, "RECORD_MALFORMED",
                 fmt::format("record {} of writer {} is malformed", record.sequence(), writer));
  }
  POSTERN_ASSIGN_OR_RETURN(Chain* const chain, writing.ChainOf(writer, record.epoch()));
  if (record.sequence() >= 1 && record.sequence() <= chain->sequence()) {
    POSTERN_ASSIGN_OR_RETURN(const std::string known,
                             writing.change().ChainHashAt(writer, record.epoch(), record.sequence()));
    if (known == record.chain_hash()) return absl::OkStatus();
    return Error(absl::StatusCode::kDataLoss, "CHAIN_MISMATCH",
                 fmt::format("record {} of writer {} (epoch {}) contradicts the one that is in the log",
                             record.sequence(), writer, record.epoch()));
  }
  const Digest record_hash = Sha256({record.record()});
  std::optional<ChainHead> earlier;
  if (record.sequence() == 1) {
    POSTERN_ASSIGN_OR_RETURN(earlier, writing.OtherChain(writer));
  }
  POSTERN_RETURN_IF_ERROR(chain->Follow(record, record_hash));
  POSTERN_RETURN_IF_ERROR(writing.Append(record, record_hash));
  if (!earlier) return absl::OkStatus();
  v1::AuditRecord alarm = Alarm("AUDIT_NEW_EPOCH", record, "the writer began a new chain");
  (*alarm.mutable_detail())["previous_epoch"] = earlier->epoch;
  (*alarm.mutable_detail())["previous_sequence"] = std::to_string(earlier->sequence);
  return writing.AppendOwn(std::move(alarm));
}

bool AuditLog::FirstAlarm(const AlarmKey& key) {
  absl::MutexLock lock(&mu_);
  if (alarms_.size() >= kMaxRememberedAlarms) alarms_.clear();
  return alarms_.insert(key).second;
}

IngestResult AuditLog::Ingest(std::string_view writer, const std::vector<v1::ChainedRecord>& records) {
  IngestResult result;
  const v1::ChainedRecord* refused = nullptr;
  const absl::Status committed = Commit([&](Writing& writing) -> absl::Status {
    for (const v1::ChainedRecord& record : records) {
      absl::Status taken = Take(writing, writer, record);
      const absl::StatusCode code = taken.code();
      if (code == absl::StatusCode::kInvalidArgument || ReasonOf(taken).starts_with("CHAIN_")) {
        // The records before it are good, and stay.
        refused = &record;
        result.status = std::move(taken);
        return absl::OkStatus();
      }
      POSTERN_RETURN_IF_ERROR(taken);
      result.epoch = record.epoch();
      result.committed_sequence = record.sequence();
    }
    return absl::OkStatus();
  });
  if (!committed.ok()) return IngestResult{.epoch = {}, .committed_sequence = 0, .status = committed};
  if (refused == nullptr) return result;
  const std::string reason = ReasonOf(result.status);
  const AlarmKey key{std::string(writer), refused->epoch(), refused->sequence(), reason};
  if (FirstAlarm(key)) {
    v1::AuditRecord alarm = Alarm("AUDIT_REFUSED", *refused, std::string(result.status.message()));
    alarm.set_object(std::string(writer));
    alarm.set_reason_code(reason);
    if (!IsName(refused->epoch())) alarm.clear_detail();
    if (const absl::Status told = Record(std::move(alarm)); !told.ok()) {
      // The sender tries again, and so does the alarm.
      absl::MutexLock lock(&mu_);
      alarms_.erase(key);
    }
  }
  return result;
}

absl::StatusOr<v1::Checkpoint> AuditLog::CheckpointNow() {
  absl::MutexLock signing(&signing_mu_);
  POSTERN_ASSIGN_OR_RETURN(const Frontier tree, store_.Tree());
  {
    absl::MutexLock lock(&mu_);
    if (!checkpoint_.signature().empty() && checkpoint_.tree_size() == tree.size()) return checkpoint_;
  }
  v1::Checkpoint next;
  next.set_origin(options_.origin);
  next.set_tree_size(tree.size());
  next.set_root_hash(std::string(View(tree.Root())));
  *next.mutable_time() = ToTimestamp(clock_.Now());
  POSTERN_RETURN_IF_ERROR(SignCheckpoint(key_, next));
  POSTERN_RETURN_IF_ERROR(store_.AddCheckpoint(next));
  absl::MutexLock lock(&mu_);
  checkpoint_ = next;
  return next;
}

void AuditLog::SignWhileRunning() {
  for (;;) {
    {
      absl::MutexLock lock(&mu_);
      mu_.Await(absl::Condition(
          +[](AuditLog* log) ABSL_EXCLUSIVE_LOCKS_REQUIRED(log->mu_) {
            return log->stop_ || log->size_ > log->checkpoint_.tree_size();
          },
          this));
      if (stop_) return;
    }
    // A failure shows in the checkpoint's age; the next turn tries again.
    CheckpointNow().status().IgnoreError();
    absl::MutexLock lock(&mu_);
    if (mu_.AwaitWithTimeout(absl::Condition(&stop_), options_.checkpoint_interval)) return;
  }
}

int64_t AuditLog::size() const {
  absl::MutexLock lock(&mu_);
  return size_;
}

v1::Checkpoint AuditLog::checkpoint() const {
  absl::MutexLock lock(&mu_);
  return checkpoint_;
}

std::unique_ptr<AuditReader::Subscription> AuditLog::Subscribe(std::function<void()> grown) {
  return std::make_unique<Subscriber>(*this, std::move(grown));
}

absl::StatusOr<std::vector<v1::AuditKey>> AuditLog::Keys() const { return store_.Keys(); }

}  // namespace postern::audit
