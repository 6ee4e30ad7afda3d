"""One command for a machine that has a GPU: check, test, time and tune the kernels.

    python -m refnet_triton.gpu                             # or: make gpu; made for 9 minutes
    python -m refnet_triton.gpu --parts goals               # what there is a goal for; made for 4
    python -m refnet_triton.gpu --parts smoke               # does every kernel run? made for 30 s
    python -m refnet_triton.gpu --parts bench --ops relu    # some of it
    python -m refnet_triton.gpu --out FOLDER --budget 300   # where to, and how many seconds in all

========  ========================================================================================
check     every op in every type on every case, as `refnet check --backend triton` does, compiled
tests     the tests that are marked `gpu` or `triton`
bench     every op: time, percent of the machine's limit, ratios to PyTorch (`refnet_triton.bench`)
tuning    tile sizes of the matrix product, timed against cuBLAS
goals     of the bench the rows that have a goal, and no others
smoke     every kernel once in every type: which fail, and how
========  ========================================================================================

The first four are run unless others are named. It needs torch, triton, numpy, pytest and this checkout; a
C compiler and Python's headers, as Triton does. What is missing is said before anything starts. (The
commands it prints for a row that is wrong, `refnet check ...`, need rich as well.)

What it finds is written as JSON into docs/results: every result into NAME.journal as it comes (those of
the tests into NAME.tests), the report after each part, and all of it at the end. A part that runs out of
time keeps what it has, and says what it has not; being told to stop, by Ctrl-C or `kill`, is the end of
its time. A process that is lost, or silent for 90 seconds, costs the task it had. The check has a file of
its own beside it, NAME.check.json, the same as that of `refnet check --json`, and NAME.check.html if
matplotlib is there. A run of some ops is no part of the page docs/results/README.md.

Exit status: 0, all of it ran and was right; 1, something was wrong or failed; 2, nothing was started; 3,
nothing was wrong, but time cut something off. A goal that is missed is a result, and no failure.

**How the 520 seconds are meant to be spent** on 16 cores and a GPU, with 14 processes at once. This is a
plan, and nothing in it was measured: the report says what each part took. A process takes about 10 s to
start (torch, Triton, a GPU's context), a kernel 0.3 to 1 s to compile, and what is compiled is kept on
disk for what follows.

========  =====  =================================================================================
check     170 s  10 + 540 tasks (ops x 4 types) / 14 x 4 s, most of it compiling ten kernels each
tests     105 s  20 to start and collect + 3,300 tests / 14 x 0.35 s: the check has compiled for them
bench     215 s  40 % at most to compile 532 rows in 14 processes; then, one after the other, 0.3 s a
                 row (drawing; taking turns for 0.1 s or more), and 1.5 s where torch.compile takes
                 part, which are 22 rows. The first row of every goal comes first, and the 210 rows
                 without a goal come last: of those the clock may cut some off
tuning     30 s  16 tiles x 4 shapes x 0.3 s, compiled beforehand
========  =====  =================================================================================

What a part leaves unused goes to the next. Nothing is timed while anything else runs.

Where there is no GPU, all of it runs on tiny sizes in Triton's interpreter, to show that it runs. That is
no measurement, its JSON says so, and it goes to runs/gpu.
"""
