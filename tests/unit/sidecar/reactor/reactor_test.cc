#include <algorithm>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "sidecar/reactor/connect.h"
#include "sidecar/reactor/event_loop.h"
#include "sidecar/reactor/stream.h"
#include "sidecar/reactor/task.h"

namespace postern::reactor {
namespace {

std::unique_ptr<EventLoop> NewLoop() { return *EventLoop::Create(Clock::System()); }

TEST(EventLoop, PostedWorkRunsInOrderAndStopLetsItFinish) {
  auto loop = NewLoop();
  std::vector<int> ran;
  for (int i = 0; i < 100; ++i) loop->Post([&ran, i] { ran.push_back(i); });
  loop->Stop();
  std::thread thread([&] { loop->Run(); });
  thread.join();
  ASSERT_EQ(ran.size(), 100u);
  EXPECT_TRUE(std::is_sorted(ran.begin(), ran.end()));
}

TEST(EventLoop, TimersFireInOrderOfTheirTimesAndCancelledOnesDoNot) {
  auto loop = NewLoop();
  std::string order;
  loop->After(absl::Milliseconds(20), [&] {
    order += "b";
    loop->Stop();
  });
  loop->After(absl::Milliseconds(5), [&] { order += "a"; });
  const auto cancelled = loop->After(absl::Milliseconds(1), [&] { order += "x"; });
  loop->CancelTimer(cancelled);
  loop->Run();
  EXPECT_EQ(order, "ab");
}

// Says when it was woken, and when its round was over.
Task<void> MeetAtEndOfRound(EventLoop& loop, Event& woken, std::string* order) {
  co_await woken.Wait();
  *order += "w";
  co_await loop.EndOfRound();
  *order += "e";
}

TEST(EventLoop, EndOfRoundComesAfterAllThatWasReady) {
  auto loop = NewLoop();
  std::string order;
  std::vector<std::unique_ptr<Event>> events;
  for (int i = 0; i < 3; ++i) {
    events.push_back(std::make_unique<Event>(*loop));
    Detach(MeetAtEndOfRound(*loop, *events.back(), &order));
  }
  for (auto& event : events) loop->Post([&event] { event->Set(); });
  loop->Stop();
  loop->Run();
  EXPECT_EQ(order, "wwweee");
}

TEST(EventLoop, ManyPostersNeverLoseAWakeUp) {
  auto loop = NewLoop();
  int count = 0;
  std::vector<std::thread> posters;
  std::thread runner([&] { loop->Run(); });
  for (int p = 0; p < 4; ++p) {
    posters.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        loop->Post([&] {
          if (++count == 8000) loop->Stop();
        });
      }
    });
  }
  for (auto& poster : posters) poster.join();
  runner.join();
  EXPECT_EQ(count, 8000);
}

struct Pair {
  std::unique_ptr<Stream> a, b;
};

Pair Connected(EventLoop& loop) {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  return {std::make_unique<Stream>(loop, UniqueFd(fds[0])), std::make_unique<Stream>(loop, UniqueFd(fds[1]))};
}

Task<void> ReadAll(EventLoop& loop, Stream& stream, std::string* in) {
  for (;;) {
    co_await stream.Readable();
    if (stream.Read(in) == ReadResult::kClosed) break;
  }
  loop.Stop();
}

Task<void> WriteAll(Stream& stream, size_t blocks) {
  for (size_t i = 0; i < blocks; ++i) {
    stream.out().append(64 * 1024, static_cast<char>('a' + i % 26));
    stream.Flush();
    co_await stream.Drained(32 * 1024);
  }
  co_await stream.Drained(1);
  stream.Close();
}

TEST(Stream, BackPressureKeepsOrderAndBoundsMemory) {
  auto loop = NewLoop();
  Pair pair = Connected(*loop);
  std::string in;
  Detach(ReadAll(*loop, *pair.b, &in));
  Detach(WriteAll(*pair.a, 64));
  loop->Run();
  ASSERT_EQ(in.size(), size_t{64} * 64 * 1024);
  for (size_t i = 0; i < 64; ++i) ASSERT_EQ(in[i * 64 * 1024], static_cast<char>('a' + i % 26));
}

Task<void> SendAll(Stream& stream, int messages) {
  for (int i = 0; i < messages; ++i) {
    const std::string message(64 * 1024, static_cast<char>('a' + i % 26));
    // Some of it from out(), some from where it lies: the order is that of the calls.
    stream.out().append(message, 0, i % 3);
    stream.Send(std::string_view(message).substr(static_cast<size_t>(i % 3)));
    co_await stream.Drained(128 * 1024);
  }
  co_await stream.Drained(1);
  stream.Close();
}

TEST(Stream, BytesSentFromElsewhereKeepTheirOrderAndWaitForTheSocket) {
  auto loop = NewLoop();
  Pair pair = Connected(*loop);
  std::string in;
  Detach(ReadAll(*loop, *pair.b, &in));
  Detach(SendAll(*pair.a, 64));
  loop->Run();
  ASSERT_EQ(in.size(), size_t{64} * 64 * 1024);
  for (size_t i = 0; i < in.size(); i += 1021) ASSERT_EQ(in[i], static_cast<char>('a' + i / (64 * 1024) % 26));
}

TEST(Stream, ReadsAtMostWhatItMay) {
  auto loop = NewLoop();
  Pair pair = Connected(*loop);
  pair.b->Send("SSLRequest and more");
  std::string in;
  EXPECT_EQ(pair.a->Read(&in, 3), ReadResult::kData);
  EXPECT_EQ(in, "SSL");
  EXPECT_EQ(pair.a->Read(&in), ReadResult::kData);
  EXPECT_EQ(in, "SSLRequest and more");
  EXPECT_EQ(pair.a->Read(&in), ReadResult::kWouldBlock);
}

Task<void> WaitForEnd(Stream& stream, bool* ended) {
  std::string in;
  co_await stream.Readable();
  *ended = stream.Read(&in) == ReadResult::kClosed;
}

TEST(Stream, CloseWakesTheReader) {
  auto loop = NewLoop();
  Pair pair = Connected(*loop);
  bool ended = false;
  Detach(WaitForEnd(*pair.a, &ended));
  loop->Post([&] { pair.a->Close(); });
  loop->Stop();
  loop->Run();
  EXPECT_TRUE(ended);
}

TEST(Stream, HangupIsToldAlsoWhenNobodyReads) {
  auto loop = NewLoop();
  Pair pair = Connected(*loop);
  pair.a->OnHangup([&] { loop->Stop(); });
  loop->Post([&] { pair.b->Close(); });
  loop->Run();
  EXPECT_TRUE(pair.a->hung_up());
}

TEST(Stream, WhatThePeerSentBeforeItWentCanStillBeRead) {
  auto loop = NewLoop();
  Pair pair = Connected(*loop);
  pair.a->OnHangup([&] { loop->Stop(); });
  loop->Post([&] {
    pair.b->out() = "last words";
    pair.b->Flush();
    pair.b->Close();
  });
  loop->Run();
  std::string in;
  EXPECT_EQ(pair.a->Read(&in), ReadResult::kData);
  EXPECT_EQ(in, "last words");
  EXPECT_EQ(pair.a->Read(&in), ReadResult::kClosed);
}

TEST(Connect, RefusedConnectionsSayWhere) {
  auto loop = NewLoop();
  int port = 0;
  { const auto listener = ListenTcp("127.0.0.1:0", &port); }
  absl::Status status;
  Detach([](EventLoop* on, int to, absl::Status* result) -> Task<void> {
    const auto stream = co_await Connect(*on, "127.0.0.1", to, absl::Seconds(5));
    *result = stream.status();
    on->Stop();
  }(loop.get(), port, &status));
  loop->Run();
  EXPECT_TRUE(absl::IsUnavailable(status));
  EXPECT_NE(std::string(status.message()).find(std::to_string(port)), std::string::npos);
}

TEST(Listen, AddressesThatAreNoneAreRefused) {
  int port = 0;
  EXPECT_TRUE(absl::IsInvalidArgument(ListenTcp("nonsense", &port).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(ListenTcp("127.0.0.1:99999", &port).status()));
}

}  // namespace
}  // namespace postern::reactor
