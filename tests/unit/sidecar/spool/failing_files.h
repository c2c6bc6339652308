// The real file system, made to fail: full disks, I/O errors, short writes, syncs that lose data, power cuts. Syncs are
// kept account of rather than done: PowerCut() takes away what was not synced, so that tests need no slow disk.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "sidecar/spool/file.h"

namespace postern::spool {

// Thread-safe. Outlives the files that it opened.
class FailingFiles : public FileSystem {
 public:
  // Called before each operation: "append", "sync", "read", "truncate", "create", "open", "lock", "list", "mkdir",
  // "syncdir", "rename", "unlink", and the path. An error fails it.
  using Fault = std::function<absl::Status(const std::string& operation, const std::string& path)>;
  void SetFault(Fault fault);
  // The next operation of this name fails with `status`.
  void FailNext(const std::string& operation, absl::Status status);
  // Appends beyond this many bytes in all files together fail with ENOSPC after writing what fits. Negative: no limit.
  void SetCapacity(int64_t bytes);

  // Until ReleaseSyncs(), syncs of files block.
  void HoldSyncs();
  void ReleaseSyncs();
  // Blocks until `count` syncs of files are held.
  void WaitForHeldSyncs(int count);

  // What a power cut leaves: every file keeps what was synced and a random part of the rest, files whose name was not
  // synced vanish. Files must be closed.
  void PowerCut(std::function<uint64_t(uint64_t)> below);

  // Operations so far, as "sync 0000000000000001.spool", in order.
  std::vector<std::string> log();

  absl::StatusOr<std::unique_ptr<File>> Create(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<File>> Open(const std::string& path) override;
  absl::StatusOr<std::unique_ptr<File>> Lock(const std::string& path) override;
  absl::StatusOr<std::vector<std::string>> List(const std::string& directory) override;
  absl::Status MakeDirectory(const std::string& directory) override;
  absl::Status SyncDirectory(const std::string& directory) override;
  absl::Status Rename(const std::string& from, const std::string& to) override;
  absl::Status Unlink(const std::string& path) override;

 private:
  friend class FailingFile;
  absl::Status Enter(const std::string& operation, const std::string& path);

  FileSystem& real_ = FileSystem::System();
  std::mutex mu_;
  std::condition_variable changed_;
  Fault fault_;
  std::map<std::string, absl::Status> next_;
  int64_t room_ = -1;
  bool hold_syncs_ = false;
  int held_syncs_ = 0;
  // By path: length that is synced.
  std::map<std::string, int64_t> synced_;
  std::set<std::string> unsynced_names_;
  std::vector<std::string> log_;
};

}  // namespace postern::spool
