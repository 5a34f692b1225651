import { programTests } from '../support/program-tests.ts';

const SCRIPT = `
require 'json'
require 'set'
require 'digest'
require 'yaml'
require 'csv'
require 'erb'
require 'optparse'
require 'time'
require 'bigdecimal'
table = (1..5000).to_h { |n| ["key #{n}", n * n] }
page = ERB.new('<% table.first(2).each do |key, value| %><%= key %>=<%= value %>;<% end %>')
queue = Queue.new
worker = Thread.new { while (n = queue.pop) != :end; Thread.current[:sum] = (Thread.current[:sum] || 0) + n; end; Thread.current[:sum] }
at_exit { puts 'at exit' }
puts "loaded #{table.size}"
$stdout.flush
Process.kill(:STOP, $$)
puts 'resumed'
puts page.result(binding), JSON.generate(table.first(3).to_h), { 'a' => [1, nil] }.to_yaml
puts Digest::SHA256.hexdigest(table.keys.join), CSV.generate_line([1, 'two', 3.5])
10.times { |n| queue << n }
queue << :end
puts worker.value
puts 4.times.map { |n| Thread.new { sleep 0.005 * n; n * n } }.map(&:value).inspect
puts Fiber.new { Fiber.yield 1; 2 }.then { |fiber| [fiber.resume, fiber.resume] }.inspect
puts BigDecimal('0.1') + BigDecimal('0.2'), Time.at(0).utc.iso8601
GC.start
GC.compact
puts table.values.sum, \`echo a child\`
trap('USR1') { puts 'trapped' }
Process.kill(:USR1, $$)
sleep 0.01
begin
  Integer('x')
rescue ArgumentError => error
  puts error.message
end
exit 3
`;

programTests({ name: 'ruby', program: '/usr/bin/ruby', args: ['-e', SCRIPT], status: 3, times: 50 });
