const ws = new WebSocket('{socket}');

ws.onopen = () => {
  ws.send(JSON.stringify({
    event: 'auth',
    args: ['{token}']
  }));
};

ws.onmessage = (event) => {
  const message = JSON.parse(event.data);
  console.log('Message from server:', message);
};
