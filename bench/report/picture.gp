# SPDX-FileCopyrightText: The idiolect authors
# SPDX-License-Identifier: Apache-2.0

# gnuplot -e "data='<folder with *.dat>'; out='<picture>.svg'" picture.gp
# Three panels from what bench_report wrote: shares of the limits, speed against the peers, and time
# a logit over the vocabulary.

set terminal svg size 1000,1150 font "sans-serif,13" background "white"
set output out
set multiplot layout 3,1 margins 0.08,0.98,0.05,0.97 spacing 0.1,0.12
one = "#1b6ca8"
two = "#e08214"

set style data histogram
set style histogram cluster gap 1
set style fill solid border -1
set boxwidth 0.9
set grid y
set key top right

set title "Share of the machine's limit (higher is better)"
set yrange [0:1.3]
set ytics 0.2
set xtics font ",10"
plot data."/shares.dat" using 2:xtic(1) title "1 thread" lc rgb one, \
     "" using 3 title "2 threads" lc rgb two, 1 with lines title "the limit" lc rgb "black" dt 2

set title "Times as fast as a peer, 128 x 151936"
set yrange [1:*]
set logscale y
set ytics auto
plot data."/speeds.dat" using 2:xtic(1) title "1 thread" lc rgb one, \
     "" using 3 title "2 threads" lc rgb two

set title "Time a logit over V, one thread, 16 million logits"
set logscale xy
set format x "%.0f"
set xrange [20:400000]
set yrange [*:*]
set ytics auto
set xlabel "V"
set ylabel "ns"
set style data linespoints
plot data."/sweep.dat" using 1:2 title "statistics" lc rgb one pt 7 ps 0.6, \
     "" using 1:3 title "and gradient, in place" lc rgb two pt 7 ps 0.6, \
     "" using 1:4 with lines title "limit: read" lc rgb one dt 2, \
     "" using 1:5 with lines title "limit: rewrite" lc rgb two dt 2
unset multiplot
