"""A small but real text engine with vLLM's HTTP API: two processes, weights from a file, no accelerator and no download.

An API process (aiohttp) tokenizes and answers; a worker (numpy) holds the weights and runs the network, one token
of each running request at a time. What lies between and around them is what a vLLM server has too, so a checkpoint of
this tree meets the same difficulties:

- three ZMQ sockets over `ipc:///tmp/<uuid>`: requests (PUSH/PULL), outputs (PUSH/PULL, bound by the worker) and
  utility calls (DEALER/ROUTER);
- a ring of prompts in POSIX shared memory, `/dev/shm/psm_*`: 64 MiB apparent, a few pages used;
- a named semaphore that counts the ring's free slots. glibc's `sem_open` creates `sem.XXXXXX`, links it to
  `sem.mp-*` and unlinks the first, so the API process maps a deleted name whose inode lives on under another one;
- a log file opened with O_APPEND by both, `~/.cache/llmux-tiny/log/PORT.log` or --log-file; standard error has the same lines;
- the network's step as a module generated and compiled for the model's shape at first start, below
  `~/.cache/llmux-tiny/`, loaded from a mapping that stays for the worker's life;
- multiprocessing's resource tracker as a third process, TCP, epoll, eventfds and pipes.

It serves OpenAI's models, chats, completions, responses, embeddings and a little of realtime, Anthropic's messages and their counting, and vLLM's
/tokenize, /detokenize, /sleep, /wake_up, /is_sleeping, /collective_rpc and /reset_prefix_cache. Responses are kept in the API process's memory.

The model is a next-token network: embeddings of the last tokens, and a fading memory of all earlier ones, go through one
hidden layer. `python -m llmux.tiny_engine train` makes it from text within seconds. At temperature 0 its answers depend
on nothing but weights and prompt.

`/sleep?level=1` copies the weights aside and frees the worker's; level 2 keeps no copy: requests are refused with 503
until `/wake_up` and `/collective_rpc` `reload_weights`. Both levels forget the prefix cache. Idle, all threads block.
Each process ends when the other does, however that ended.

With `--device cuda` the weights are on a GPU, and a count of steps with a digest of what came of them; `--device-bytes N` adds ballast. All of it is
compared with what was written: a byte that a suspension or a checkpoint has lost makes /health and each request 503, with what is wrong. The levels
of sleep act on that memory. GET /device compares every byte. Arithmetic stays with numpy: it takes the driver's library and nothing else.

LoRA adapters (`train-adapter` makes one in PEFT's layout) are served as vLLM does: `--enable-lora`, `--lora-modules`, and with
VLLM_ALLOW_RUNTIME_LORA_UPDATING=1 /v1/load_lora_adapter and /v1/unload_lora_adapter. With `--allow-faults`, POST /fault
lets the engine crash, hang, answer garbage, stall, slow down, grow, or exit at a sleep or wake, for tests of what is around it.

Whoever sends a header `x-nonce` gets a signed answer: its model, the nonce, digests of the prompt and of the text.

A model is a directory (config.json, tokenizer.json, model.safetensors), or `org/name` in Hugging Face's cache layout
below `$HF_HUB_CACHE`, `$HF_HOME/hub` or `~/.cache/huggingface/hub`.
"""
