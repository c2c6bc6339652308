#include "tests/unit/sidecar/spool/failing_files.h"

#include <filesystem>
#include <utility>

#include "common/base/errors.h"
#include "common/base/status_macros.h"

namespace postern::spool {

class FailingFile : public File {
 public:
  FailingFile(FailingFiles& files, std::string path, std::unique_ptr<File> real)
      : files_(files), path_(std::move(path)), real_(std::move(real)) {}

  absl::Status Append(std::string_view bytes) override {
    const absl::Status entered = files_.Enter("append", path_);
    std::lock_guard lock(files_.mu_);
    if (!entered.ok()) {
      // A short write: the front half is in the file.
      real_->Append(bytes.substr(0, bytes.size() / 2)).IgnoreError();
      return entered;
    }
    if (files_.room_ < 0) return real_->Append(bytes);
    const auto fits = std::min<size_t>(bytes.size(), static_cast<size_t>(files_.room_));
    files_.room_ -= static_cast<int64_t>(fits);
    POSTERN_RETURN_IF_ERROR(real_->Append(bytes.substr(0, fits)));
    if (fits == bytes.size()) return absl::OkStatus();
    return Error(absl::StatusCode::kResourceExhausted, "SPOOL_FULL", "write " + path_ + ": No space left on device");
  }

  absl::Status SyncData() override {
    int64_t before = *real_->Size();
    const absl::Status entered = files_.Enter("sync", path_);
    std::unique_lock lock(files_.mu_);
    if (!entered.ok()) {
      // As ext4 and XFS do it: pages that could not be written are dropped, and read as zeros afterwards.
      const int64_t size = *real_->Size();
      real_->Truncate(files_.synced_[path_]).IgnoreError();
      real_->Truncate(size).IgnoreError();
      return entered;
    }
    ++files_.held_syncs_;
    files_.changed_.notify_all();
    files_.changed_.wait(lock, [this] { return !files_.hold_syncs_; });
    --files_.held_syncs_;
    files_.synced_[path_] = before;
    return absl::OkStatus();
  }

  absl::StatusOr<std::string> ReadAt(int64_t offset, int64_t length) override {
    POSTERN_RETURN_IF_ERROR(files_.Enter("read", path_));
    return real_->ReadAt(offset, length);
  }
  absl::Status Truncate(int64_t length) override {
    POSTERN_RETURN_IF_ERROR(files_.Enter("truncate", path_));
    const int64_t size = *real_->Size();
    std::lock_guard lock(files_.mu_);
    if (files_.room_ >= 0) files_.room_ += size - length;
    if (files_.synced_[path_] > length) files_.synced_[path_] = length;
    return real_->Truncate(length);
  }
  absl::StatusOr<int64_t> Size() override { return real_->Size(); }

 private:
  FailingFiles& files_;
  const std::string path_;
  const std::unique_ptr<File> real_;
};

void FailingFiles::SetFault(Fault fault) {
  std::lock_guard lock(mu_);
  fault_ = std::move(fault);
}
void FailingFiles::FailNext(const std::string& operation, absl::Status status) {
  std::lock_guard lock(mu_);
  next_[operation] = std::move(status);
}
void FailingFiles::SetCapacity(int64_t bytes) {
  std::lock_guard lock(mu_);
  room_ = bytes;
}
void FailingFiles::HoldSyncs() {
  std::lock_guard lock(mu_);
  hold_syncs_ = true;
}
void FailingFiles::ReleaseSyncs() {
  std::lock_guard lock(mu_);
  hold_syncs_ = false;
  changed_.notify_all();
}
void FailingFiles::WaitForHeldSyncs(int count) {
  std::unique_lock lock(mu_);
  changed_.wait(lock, [&] { return hold_syncs_ && held_syncs_ >= count; });
}
std::vector<std::string> FailingFiles::log() {
  std::lock_guard lock(mu_);
  return log_;
}

void FailingFiles::PowerCut(std::function<uint64_t(uint64_t)> below) {
  std::lock_guard lock(mu_);
  for (const std::string& path : unsynced_names_) std::filesystem::remove(path);
  for (const auto& [path, synced] : synced_) {
    if (!std::filesystem::exists(path)) continue;
    const auto size = static_cast<int64_t>(std::filesystem::file_size(path));
    if (size <= synced) continue;
    std::filesystem::resize_file(path, static_cast<uint64_t>(synced) + below(static_cast<uint64_t>(size - synced) + 1));
  }
  unsynced_names_.clear();
}

absl::Status FailingFiles::Enter(const std::string& operation, const std::string& path) {
  Fault fault;
  {
    std::lock_guard lock(mu_);
    log_.push_back(operation + " " + std::filesystem::path(path).filename().string());
    if (auto it = next_.find(operation); it != next_.end()) {
      absl::Status status = it->second;
      next_.erase(it);
      return status;
    }
    fault = fault_;
  }
  return fault ? fault(operation, path) : absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<File>> FailingFiles::Create(const std::string& path) {
  POSTERN_RETURN_IF_ERROR(Enter("create", path));
  POSTERN_ASSIGN_OR_RETURN(auto real, real_.Create(path));
  std::lock_guard lock(mu_);
  synced_[path] = 0;
  unsynced_names_.insert(path);
  return std::make_unique<FailingFile>(*this, path, std::move(real));
}

absl::StatusOr<std::unique_ptr<File>> FailingFiles::Open(const std::string& path) {
  POSTERN_RETURN_IF_ERROR(Enter("open", path));
  POSTERN_ASSIGN_OR_RETURN(auto real, real_.Open(path));
  std::lock_guard lock(mu_);
  synced_.try_emplace(path, *real->Size());
  return std::make_unique<FailingFile>(*this, path, std::move(real));
}

absl::StatusOr<std::unique_ptr<File>> FailingFiles::Lock(const std::string& path) {
  POSTERN_RETURN_IF_ERROR(Enter("lock", path));
  return real_.Lock(path);
}

absl::StatusOr<std::vector<std::string>> FailingFiles::List(const std::string& directory) {
  POSTERN_RETURN_IF_ERROR(Enter("list", directory));
  return real_.List(directory);
}

absl::Status FailingFiles::MakeDirectory(const std::string& directory) {
  POSTERN_RETURN_IF_ERROR(Enter("mkdir", directory));
  return real_.MakeDirectory(directory);
}

absl::Status FailingFiles::SyncDirectory(const std::string& directory) {
  POSTERN_RETURN_IF_ERROR(Enter("syncdir", directory));
  std::lock_guard lock(mu_);
  unsynced_names_.clear();
  return absl::OkStatus();
}

absl::Status FailingFiles::Rename(const std::string& from, const std::string& to) {
  POSTERN_RETURN_IF_ERROR(Enter("rename", from));
  POSTERN_RETURN_IF_ERROR(real_.Rename(from, to));
  std::lock_guard lock(mu_);
  synced_[to] = synced_[from];
  synced_.erase(from);
  unsynced_names_.erase(from);
  return absl::OkStatus();
}

absl::Status FailingFiles::Unlink(const std::string& path) {
  POSTERN_RETURN_IF_ERROR(Enter("unlink", path));
  std::error_code ignored;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(path, ignored));
  POSTERN_RETURN_IF_ERROR(real_.Unlink(path));
  std::lock_guard lock(mu_);
  if (room_ >= 0) room_ += size;
  synced_.erase(path);
  unsynced_names_.erase(path);
  return absl::OkStatus();
}

}  // namespace postern::spool
