// A C++ program with exceptions, threads and static state, which stops itself once all that stands.
#include <condition_variable>
#include <csignal>
#include <iostream>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

static std::mutex lock;
static std::condition_variable changed;
static bool resumed;
static thread_local int mine = 40;

static int deep(int level)
{
    std::string held(static_cast<std::size_t>(level) * 10, 'x');
    if (level == 0)
        throw std::out_of_range("the bottom");
    return deep(level - 1) + static_cast<int>(held.size());
}

int main()
{
    std::map<std::string, std::vector<double>> table;
    for (int i = 0; i < 2000; i++)
        table["key" + std::to_string(i % 50)].push_back(i / 7.0);
    std::vector<std::string> results(4);
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < results.size(); i++)
        threads.emplace_back([&, i] {
            mine += static_cast<int>(i);
            std::unique_lock<std::mutex> held(lock);
            changed.wait(held, [] { return resumed; });
            try { deep(5 + mine); }
            catch (const std::exception &error) { results[i] = error.what() + std::to_string(mine); }
        });
    std::cout << "ready " << table.size() << std::endl;
    raise(SIGSTOP);
    { std::lock_guard<std::mutex> held(lock); resumed = true; }
    changed.notify_all();
    for (auto &thread : threads) thread.join();
    for (const auto &result : results) std::cout << result << '\n';
    for (const auto &[key, values] : table) std::cout << key << ' ' << values.back() << '\n';
    try { throw 7; } catch (int seven) { std::cout << "caught " << seven + mine << std::endl; }
}
