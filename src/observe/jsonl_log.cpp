#include "bilevel/observe/jsonl_log.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <nlohmann/json.hpp>
#include <system_error>

#include "bilevel/core/atomic_file.hpp"
#include "bilevel/core/error.hpp"
#include "core/file_bytes.hpp"

namespace bilevel {
inline namespace v0 {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void fail(const std::filesystem::path& path, const char* what, int error) {
  throw IoError(path.string(), std::string(what) + " (" + io_detail::reason_of(error) + ").");
}

/// The leading complete lines of iterations below `next`.
std::string kept_lines(const std::string& text, int next) {
  std::size_t end = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t stop = text.find('\n', at);
    if (stop == std::string::npos) break;
    const Json line = Json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                                  text.begin() + static_cast<std::ptrdiff_t>(stop), nullptr, false);
    if (!line.is_object() || !line.contains("iteration") || !line["iteration"].is_number_integer()) break;
    if (line["iteration"].get<int>() >= next) break;
    at = end = stop + 1;
  }
  return text.substr(0, end);
}

Json record_json(const IterationRecord& r, const Parameters& parameters, double test_psnr,
                 const std::vector<NamedOption>& fields) {
  Json json{{"iteration", r.iteration},
            {"loss", r.loss},
            {"loss_lower", r.loss_lower},
            {"loss_upper", r.loss_upper},
            {"gradient_norm", r.gradient_norm},
            {"error_bound", r.error_bound},
            {"epsilon", r.epsilon},
            {"delta", r.delta},
            {"step", r.step},
            {"backtracks", r.backtracks},
            {"lower_gradients", r.work.gradients},
            {"hessian_products", r.work.hessian_products},
            {"other_operators", r.work.other},
            {"lower_solves", r.work.solves},
            {"seconds", r.seconds},
            {"status", r.status}};
  for (const auto& [name, value] : fields)
    json[name] = std::visit([](const auto& v) { return Json(v); }, value);
  json["theta"] = Json::object();
  for (const Segment& s : parameters.segments())  // arrays are left to model.json and the checkpoints
    if (s.shape.empty()) json["theta"][s.name] = parameters.value(s.name, r.theta);
  const auto add = [&json](const char* name, double value) {
    if (std::isfinite(value)) json[name] = value;
  };
  add("psnr", r.psnr);
  add("test_psnr", test_psnr);
  add("omega_theorem", r.omega_theorem);
  add("omega_adjoint", r.omega_adjoint);
  add("omega_directional", r.omega_directional);
  add("omega_columns", r.omega_columns);
  return json;
}

}  // namespace

JsonlLog::JsonlLog(std::filesystem::path path, Parameters parameters, int next, TestPsnr test_psnr,
                   Fields fields)
    : path_(std::move(path)),
      parameters_(std::move(parameters)),
      test_psnr_(std::move(test_psnr)),
      fields_(std::move(fields)) {
  std::error_code ignored;
  if (next > 0 && std::filesystem::exists(path_, ignored) && std::filesystem::file_size(path_, ignored) > 0)
    write_file_atomically(path_, kept_lines(io_detail::read_file(path_), next));
  file_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (next == 0 ? O_TRUNC : 0), 0666);
  if (file_ < 0) fail(path_, "cannot be opened for writing", errno);
}

JsonlLog::~JsonlLog() {
  if (file_ >= 0) ::close(file_);
}

bool JsonlLog::iteration(const IterationRecord& record) {
  append(record, false);
  return true;
}

void JsonlLog::finished(const UpperReport& report) {
  if (!report.last.theta.empty()) append(report.last, true);
  struct stat status {};
  if (::fstat(file_, &status) == 0 && S_ISREG(status.st_mode)) force_to_disk(path_);
}

void JsonlLog::append(const IterationRecord& record, bool finished) {
  if (record.theta.size() != parameters_.size())
    throw ShapeError("a log of parameters with " + std::to_string(parameters_.size()) +
                     " learned entries was given a theta of " + std::to_string(record.theta.size()) + ".");
  const double test_psnr = test_psnr_ ? test_psnr_(record, finished) : std::nan("");
  const std::string text =
      record_json(record, parameters_, test_psnr, fields_ ? fields_(record) : std::vector<NamedOption>{})
          .dump(-1, ' ', false, Json::error_handler_t::replace) +
      "\n";
  struct stat before {};
  const bool known = ::fstat(file_, &before) == 0;
  if (known && before.st_nlink == 0) throw IoError(path_.string(), "was removed while the run was going on.");
  std::size_t done = 0;
  while (done < text.size()) {
    const ssize_t count = ::write(file_, text.data() + done, text.size() - done);
    if (count > 0) {
      done += static_cast<std::size_t>(count);
    } else if (count == 0 || errno != EINTR) {
      const int error = count == 0 ? ENOSPC : errno;
      if (known && S_ISREG(before.st_mode)) static_cast<void>(::ftruncate(file_, before.st_size) == 0);
      fail(path_, "the log cannot be written", error);
    }
  }
}

}  // namespace v0
}  // namespace bilevel
