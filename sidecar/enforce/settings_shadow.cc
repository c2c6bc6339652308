#include "sidecar/enforce/settings_shadow.h"

#include <algorithm>
#include <utility>

namespace postern::sidecar {
namespace {

// GUC_NO_RESET_ALL of what is shadowed.
bool SurvivesResetAll(std::string_view name) { return name == "role" || name == "session_authorization"; }

}  // namespace

std::optional<std::string> SettingsShadow::Get(std::string_view name) const {
  if (const auto it = current_.local.find(name); it != current_.local.end()) return it->second;
  if (const auto it = current_.session.find(name); it != current_.session.end()) return it->second;
  return std::nullopt;
}

void SettingsShadow::Set(std::string_view name, std::optional<std::string> value, bool local) {
  Change();
  const std::string key(name);
  if (key == "search_path") {
    current_.path_uncertain = false;
    current_.path_confirmed_within = false;
  }
  if (local) {
    // SET LOCAL x TO DEFAULT hides what the session has set, which an absent entry cannot say: the server is asked.
    if (value) {
      current_.local[key] = *std::move(value);
    } else {
      current_.local.erase(key);
      if (current_.session.contains(key) && key == "search_path") current_.path_uncertain = true;
    }
    return;
  }
  current_.local.erase(key);
  if (value) {
    current_.session[key] = *std::move(value);
  } else {
    current_.session.erase(key);
  }
}

void SettingsShadow::ResetAll(bool discard) {
  Change();
  const auto forget = [discard](auto& values) {
    std::erase_if(values, [discard](const auto& entry) { return discard || !SurvivesResetAll(entry.first); });
  };
  forget(current_.local);
  forget(current_.session);
  current_.path_uncertain = false;
  current_.path_confirmed_within = false;
}

void SettingsShadow::ConfirmPath(std::string value, bool in_transaction) {
  Change();
  current_.local.erase("search_path");
  current_.session["search_path"] = std::move(value);
  current_.path_uncertain = false;
  current_.path_confirmed_within = in_transaction;
  if (!in_transaction) base_ = current_;
}

void SettingsShadow::ReportPath(const std::string& value, bool in_transaction) {
  Change();
  const auto report = [&value](Values* values) {
    values->local.erase("search_path");
    values->session["search_path"] = value;
    values->path_uncertain = false;
    values->path_confirmed_within = false;
  };
  report(&current_);
  if (!in_transaction) report(&base_);
}

void SettingsShadow::Savepoint(std::string name, uint64_t mark) {
  Change();
  savepoints_.push_back({std::move(name), mark, current_});
}

std::vector<SettingsShadow::Frame>::iterator SettingsShadow::FindFrame(std::string_view name) {
  const auto it =
      std::find_if(savepoints_.rbegin(), savepoints_.rend(), [name](const Frame& frame) { return frame.name == name; });
  return it == savepoints_.rend() ? savepoints_.end() : std::prev(it.base());
}

void SettingsShadow::Release(std::string_view name) { savepoints_.erase(FindFrame(name), savepoints_.end()); }

std::optional<uint64_t> SettingsShadow::RollbackTo(std::string_view name) {
  const auto frame = FindFrame(name);
  if (frame == savepoints_.end()) return std::nullopt;
  Change();
  current_ = frame->values;
  const uint64_t mark = frame->mark;
  savepoints_.erase(std::next(frame), savepoints_.end());
  return mark;
}

bool SettingsShadow::Commit() {
  if (!open_) return false;
  Change();
  const bool catalog_changed = std::exchange(current_.catalog_changed, false);
  // What SHOW said within the transaction may have been a SET LOCAL's, which ends with it.
  if (std::exchange(current_.path_confirmed_within, false)) current_.path_uncertain = true;
  current_.local.clear();
  base_ = current_;
  savepoints_.clear();
  open_ = false;
  return catalog_changed;
}

void SettingsShadow::Rollback() {
  if (!open_) return;
  Change();
  current_ = base_;
  savepoints_.clear();
  open_ = false;
}

}  // namespace postern::sidecar
