// Looks up in the database what approvers of a held statement should see: estimate, count, locks, triggers, cascades,
// rows as they are. Never runs the statement: it connects beside the session, in a read-only transaction that is short,
// and only where the rule's `hold.preview` allows it.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/sql/catalog.h"
#include "postern/v1/approval.pb.h"
#include "sidecar/catalog/catalog_loader.h"
#include "sidecar/enforce/enforcer.h"

namespace postern::preview {

// One held statement. Everything in it is as it was when it was held.
struct Question {
  std::string sql;
  std::shared_ptr<const sidecar::Plan> plan;
  std::vector<std::optional<std::string>> values = {};
  std::vector<int> formats = {};  // one for each value: 0 text, 1 binary
  std::vector<uint32_t> types = {};
  // Quoted names, as SET search_path takes them.
  std::string search_path_text;
  std::vector<std::string> search_path;
  std::string role;
  std::shared_ptr<const sql::Catalog> catalog;
  // Columns that are masked for the agent: they are not shown to approvers either.
  std::shared_ptr<const std::map<sql::ColumnId, v1::MaskStrategy>> masked;
  v1::PreviewSettings settings;
};

// Answers on `connection`, which it leaves outside of any transaction. What cannot be found out becomes a note.
v1::Preview Gather(sidecar::CatalogConnection& connection, const Question& question, const Clock& clock);

// A thread that answers one question after the other. Thread-safe.
class Previewer {
 public:
  explicit Previewer(const Clock& clock);
  // Questions that still wait are dropped.
  ~Previewer();
  Previewer(const Previewer&) = delete;
  Previewer& operator=(const Previewer&) = delete;

  // `parameters`: where to connect, and as whom; the role is the question's. `done` is called on the thread, with a
  // preview that has a note when nothing could be found out. False: too many wait already, and `done` is not called.
  bool Ask(sidecar::ConnectionParameters parameters, Question question, std::function<void(v1::Preview)> done);

 private:
  struct Job {
    sidecar::ConnectionParameters parameters;
    Question question;
    std::function<void(v1::Preview)> done;
  };
  void Run();

  const Clock& clock_;
  const int stop_fd_;
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  std::deque<Job> jobs_ ABSL_GUARDED_BY(mu_);
  std::thread thread_;
};

}  // namespace postern::preview
