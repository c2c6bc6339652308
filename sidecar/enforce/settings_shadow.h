// What a session has set, as Postgres's GUC machinery would have it: SET is undone by a rollback, SET LOCAL by any end
// of the transaction, and savepoints nest (src/backend/utils/misc/guc.c).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace postern::sidecar {

// Not thread-safe. Names are in lower case.
class SettingsShadow {
 public:
  // What the transaction so far has made; restored by rollbacks.
  struct Values {
    std::map<std::string, std::string, std::less<>> session;
    std::map<std::string, std::string, std::less<>> local;  // SET LOCAL, hides `session`
    // search_path may be something else than what stands here.
    bool path_uncertain = false;
    // It was asked for within the transaction, whose end may bring another one.
    bool path_confirmed_within = false;
    bool catalog_changed = false;
  };

  const Values& values() const { return current_; }
  // Another number whenever values() may have changed.
  uint64_t version() const { return version_; }
  // The value in force, absent when it was never set: the session's default is.
  std::optional<std::string> Get(std::string_view name) const;

  // `value` absent: back to the default.
  void Set(std::string_view name, std::optional<std::string> value, bool local);
  // RESET ALL; with `discard` (DISCARD ALL) also what RESET ALL leaves alone.
  void ResetAll(bool discard);
  void MarkPathUncertain() {
    Change();
    current_.path_uncertain = true;
  }
  // The server has said what search_path is now.
  void ConfirmPath(std::string value, bool in_transaction);
  // The server reports it of its own accord, and will again when a transaction's end changes it.
  void ReportPath(const std::string& value, bool in_transaction);
  void MarkCatalogChanged() {
    Change();
    current_.catalog_changed = true;
  }

  // `mark` is the caller's own, given back by RollbackTo.
  void Savepoint(std::string name, uint64_t mark);
  void Release(std::string_view name);
  // The mark of the savepoint, which stays; absent if there is none of this name.
  std::optional<uint64_t> RollbackTo(std::string_view name);
  // The end of a transaction. True if it has changed the catalog for others.
  bool Commit();
  void Rollback();

 private:
  struct Frame {
    std::string name;
    uint64_t mark;
    Values values;
  };

  std::vector<Frame>::iterator FindFrame(std::string_view name);
  // Before current_ is changed.
  void Change() {
    ++version_;
    open_ = true;
  }

  Values base_;  // at the start of the transaction
  Values current_;
  std::vector<Frame> savepoints_;
  uint64_t version_ = 0;
  // False: current_ is base_ and there are no savepoints, as at the end of most transactions.
  bool open_ = false;
};

}  // namespace postern::sidecar
