// The spool under kill -9: a child process appends from two threads as fast as it can and tells, over a pipe, each
// record that was called durable; the parent kills it at a random moment, opens the spool, and looks for every record
// it was told of. Then the next child goes on with the same spool.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <random>
#include <set>
#include <string>
#include <thread>

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/audit/chain.h"
#include "gtest/gtest.h"
#include "sidecar/spool/spool.h"

namespace postern::spool {
namespace {

constexpr int kRounds = 40;

Options OptionsIn(const std::string& directory) {
  Options options;
  options.directory = directory;
  options.writer = "sdc_kill";
  options.segment_bytes = 64 << 10;
  options.sync_interval = absl::Milliseconds(3);
  return options;
}

// What a child tells: fixed size, so that each write to the pipe is atomic.
struct Told {
  int32_t round;
  int32_t thread;
  int32_t number;
};

v1::AuditRecord Record(const Told& told, size_t padding) {
  v1::AuditRecord record;
  record.set_kind(v1::STATEMENT_OUTCOME);
  record.mutable_time()->set_seconds(1'750'000'000);
  record.set_command_tag(std::to_string(told.round) + "/" + std::to_string(told.thread) + "/" +
                         std::to_string(told.number));
  record.set_error(std::string(padding, 'x'));
  return record;
}

void AppendForever(Spool& spool, int pipe, int32_t round, int32_t thread) {
  std::mt19937 rng(static_cast<uint32_t>(round * 2 + thread));
  for (int32_t number = 0;; ++number) {
    const Told told{round, thread, number};
    const bool strict = rng() % 4 == 0;
    auto ticket = spool.Append(Record(told, rng() % 2000), strict ? Durability::kStrict : Durability::kRelaxed);
    if (!ticket.ok()) std::_Exit(3);
    if (strict) {
      spool.WhenDurable(*ticket, [pipe, told](absl::Status status) {
        if (!status.ok() || ::write(pipe, &told, sizeof(told)) != sizeof(told)) std::_Exit(3);
      });
    } else {
      // Flushed: in the kernel, and so safe from the death of this process.
      if (!spool.Flush().ok() || ::write(pipe, &told, sizeof(told)) != sizeof(told)) std::_Exit(3);
    }
  }
}

[[noreturn]] void RunChild(const std::string& directory, int pipe, int32_t round) {
  auto spool = Spool::Open(OptionsIn(directory), FileSystem::System(), Clock::System(), Random::System());
  if (!spool.ok()) std::_Exit(3);
  std::thread other([&] { AppendForever(**spool, pipe, round, 1); });
  AppendForever(**spool, pipe, round, 0);
  std::_Exit(3);
}

// Reads what the child tells; kills it after `count` tellings and returns all that came.
std::vector<Told> RunAndKill(const std::string& directory, int32_t round, int count) {
  int ends[2];
  EXPECT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    RunChild(directory, ends[1], round);
  }
  ::close(ends[1]);
  std::vector<Told> all;
  Told told;
  bool killed = false;
  while (::read(ends[0], &told, sizeof(told)) == sizeof(told)) {
    all.push_back(told);
    if (!killed && static_cast<int>(all.size()) >= count) {
      EXPECT_EQ(::kill(child, SIGKILL), 0);
      killed = true;
    }
  }
  ::close(ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with status " << status;
  return all;
}

TEST(SpoolUnderKill, EveryRecordThatWasPromisedIsThere) {
  std::string pattern = (std::filesystem::temp_directory_path() / "postern-kill-XXXXXX").string();
  ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
  const std::filesystem::path root = pattern;
  const std::string directory = (root / "spool").string();
  std::mt19937 rng(2);
  size_t promised = 0;
  for (int32_t round = 0; round < kRounds; ++round) {
    const std::vector<Told> told = RunAndKill(directory, round, 1 + static_cast<int>(rng() % 400));
    auto spool = Spool::Open(OptionsIn(directory), FileSystem::System(), Clock::System(), Random::System());
    ASSERT_TRUE(spool.ok()) << spool.status();
    std::set<std::string> there;
    std::map<std::string, audit::Chain> chains;
    Position at = (*spool)->acknowledged();
    for (;;) {
      auto batch = (*spool)->Read(at, 1 << 20);
      ASSERT_TRUE(batch.ok()) << batch.status();
      if (batch->empty()) break;
      for (const v1::ChainedRecord& chained : *batch) {
        auto chain = chains.find(chained.epoch());
        if (chain == chains.end()) {
          // The first of this reading: earlier ones were acknowledged.
          chains.emplace(chained.epoch(),
                         audit::Chain(chained.writer(), chained.epoch(), chained.sequence(), chained.chain_hash()));
        } else {
          const absl::Status follows = chain->second.Follow(chained);
          ASSERT_TRUE(follows.ok()) << follows;
        }
        v1::AuditRecord record;
        ASSERT_TRUE(record.ParseFromString(chained.record()));
        EXPECT_TRUE(there.insert(record.command_tag()).second) << record.command_tag() << " twice";
        at = {chained.epoch(), chained.sequence()};
      }
    }
    for (const Told& each : told) {
      ASSERT_TRUE(there.contains(Record(each, 0).command_tag())) << "round " << round << " lost a promised record";
    }
    promised += told.size();
    // The control plane has them: the spool does not grow for ever.
    ASSERT_TRUE((*spool)->Acknowledge(at).ok());
  }
  EXPECT_GT(promised, static_cast<size_t>(kRounds));
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace postern::spool
