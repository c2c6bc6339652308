#include "tests/integration/oidc/provider_process.h"

#include <vector>

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/token/json.h"

extern char** environ;

namespace postern::identity {
namespace {

// A provider that has not answered by then will not.
constexpr int kAnswerMillis = 30'000;
// What the provider's own client trusts beside Node's list.
constexpr std::string_view kExtraCa = "NODE_EXTRA_CA_CERTS=";

}  // namespace

ProviderProcess::ProviderProcess(const std::string& certificate_file, const std::string& key_file,
                                 const std::string& ca_file) {
  Start(certificate_file, key_file, ca_file);
}

void ProviderProcess::Start(const std::string& certificate_file, const std::string& key_file,
                            const std::string& ca_file) {
  const std::string script = std::string(POSTERN_SOURCE_DIR) + "/tests/node/oidc_provider.mjs";
  std::vector<std::string> arguments = {"node", script};
  if (!certificate_file.empty()) {
    arguments.insert(arguments.end(), {"--cert", certificate_file, "--key", key_file});
  }
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    if (!std::string_view(*entry).starts_with(kExtraCa)) environment.emplace_back(*entry);
  }
  if (!ca_file.empty()) environment.push_back(std::string(kExtraCa) + ca_file);
  const auto pointers = [](std::vector<std::string>& texts) {
    std::vector<char*> all;
    for (std::string& text : texts) all.push_back(text.data());
    all.push_back(nullptr);
    return all;
  };

  int to[2];
  int from[2];
  ASSERT_EQ(pipe2(to, O_CLOEXEC), 0);
  ASSERT_EQ(pipe2(from, O_CLOEXEC), 0);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
  const int error =
      posix_spawnp(&pid_, "node", &actions, nullptr, pointers(arguments).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  close(to[0]);
  close(from[1]);
  to_ = to[1];
  from_ = from[0];
  ASSERT_EQ(error, 0) << "cannot run node";

  const auto hello = token::ParseJsonObject(ReadLine());
  ASSERT_TRUE(hello.ok()) << "the provider did not start; `npm install` in tests/node installs it";
  url_ = token::StringMember(hello->get(), "url").value_or("");
}

ProviderProcess::~ProviderProcess() {
  // It ends when its input does.
  close(to_);
  close(from_);
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
}

std::string ProviderProcess::ReadLine() {
  while (true) {
    if (const size_t end = buffer_.find('\n'); end != std::string::npos) {
      std::string line = buffer_.substr(0, end);
      buffer_.erase(0, end + 1);
      return line;
    }
    pollfd waiting{from_, POLLIN, 0};
    char chunk[4096];
    if (poll(&waiting, 1, kAnswerMillis) != 1) return {};
    const ssize_t n = read(from_, chunk, sizeof(chunk));
    if (n <= 0) return {};
    buffer_.append(chunk, static_cast<size_t>(n));
  }
}

std::string ProviderProcess::Command(const std::string& line, const char* member) {
  EXPECT_EQ(write(to_, (line + '\n').data(), line.size() + 1), std::ssize(line) + 1);
  const auto answer = token::ParseJsonObject(ReadLine());
  if (!answer.ok() || json_object_get(answer->get(), "error") != nullptr) {
    ADD_FAILURE() << line << ": " << (answer.ok() ? token::DumpJson(answer->get()) : "no answer");
    return {};
  }
  const json_t* value = json_object_get(answer->get(), member);
  if (json_is_integer(value)) return std::to_string(json_integer_value(value));
  return token::StringMember(answer->get(), member).value_or("");
}

std::string ProviderProcess::IdToken(std::string_view algorithm, std::string_view claims) {
  return Command(fmt::format(R"({{"cmd":"id_token","alg":"{}","claims":{}}})", algorithm, claims), "token");
}

std::string ProviderProcess::WorkloadToken(std::string_view claims) {
  return Command(fmt::format(R"({{"cmd":"workload_token","claims":{}}})", claims), "token");
}

void ProviderProcess::Rotate(bool keep_old) { Command(fmt::format(R"({{"cmd":"rotate","keep":{}}})", keep_old), ""); }

void ProviderProcess::Fault(std::string_view kind) {
  Command(fmt::format(R"({{"cmd":"fault","kind":"{}"}})", kind), "");
}

int ProviderProcess::JwksHits() { return std::stoi(Command(R"({"cmd":"hits"})", "jwks")); }

}  // namespace postern::identity
